"""The signature file and what makes it good."""

import json
from collections.abc import Sequence

from pellucid.bundle.errors import BundleUntrusted, SignatureInvalid
from pellucid.bundle.keys import SigningKey, TrustedKey
from pellucid.core.digests import canonical_json

ALGORITHM = "ed25519"
MAX_SIGNATURE_BYTES = 4096


def sign_manifest(manifest: bytes, key: SigningKey) -> bytes:
    """The bytes of `signature.json` for the canonical manifest."""
    return _render(key.key_id, key.sign(manifest))


def check_signature(manifest: bytes, signature: bytes, trusted: Sequence[TrustedKey]) -> TrustedKey:
    """The trusted key that signed `manifest`; nothing but `trusted` is ever taken for a key.

    Args:
        manifest: the bytes of the manifest.
        signature: the bytes of `signature.json`.
        trusted: the keys that the site's settings list.

    Raises:
        SignatureInvalid: not a signature file, or not the named key's signature of this manifest.
        BundleUntrusted: the named key isn't among `trusted`.
    """
    name, value = _parse(signature)
    candidates = [key for key in trusted if key.key_id == name]
    if not candidates:
        known = ", ".join(f"{key.key_id} ({key.name})" for key in trusted) or "none"
        raise BundleUntrusted(f"The bundle is signed by the key {name}; trusted are: {known}.", key_id=name)
    for key in candidates:
        if key.verifies(value, manifest):
            return key
    raise SignatureInvalid(f"The signature is not that of the key {name} under this manifest.", key_id=name)


def _render(key_id: str, value: bytes) -> bytes:
    return canonical_json({"algorithm": ALGORITHM, "key_id": key_id, "signature": value.hex()})


def _parse(data: bytes) -> tuple[str, bytes]:
    try:
        plain = json.loads(data)
        name, value = plain["key_id"], bytes.fromhex(plain["signature"])
        exact = _render(name, value) == data
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SignatureInvalid("signature.json is not a signature file.") from error
    if not exact:
        raise SignatureInvalid(f"signature.json is not an {ALGORITHM} signature in canonical form.")
    return name, value
