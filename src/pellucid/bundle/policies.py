"""Policy files: a site's policy with the signatures of those who answer for it.

The keys are the site's own, other than those that it trusts for bundles: who made a model can't say that it may decide.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pellucid.bundle.keys import SigningKey, TrustedKey
from pellucid.bundle.policy_errors import (
    PolicyAltered,
    PolicyInvalid,
    PolicyMissing,
    PolicyTooNew,
    PolicyUnsigned,
    PolicyUntrusted,
)
from pellucid.bundle.policy_rules import activate, check_policy, contradiction, warnings_of
from pellucid.core.clock import utc_now
from pellucid.core.digests import canonical_json
from pellucid.core.files import write_bytes
from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.policy import SitePolicy

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MAX_POLICY_BYTES",
    "Meaning",
    "PolicySignature",
    "SignedPolicy",
    "activate",
    "check_policy",
    "load_policy",
    "policy_bytes",
    "read_policy",
    "sign_policy",
    "untrusted",
    "warnings_of",
    "write_policy",
]

FORMAT = "pellucid-site-policy"
FORMAT_VERSION = 1
MAX_POLICY_BYTES = 16 << 20

_SIGNATURE_BYTES = 64


class Meaning(StrEnum):
    """What a signature says."""

    CERTIFIED = "certified"
    """I ran the certification that gave these certificates."""
    APPROVED = "approved"
    """I have read the policy and agree with it."""
    ACTIVATED = "activated"
    """I put the policy into force in this mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySignature:
    """One signature as the file holds it.

    Attributes:
        key_id: the short name of the key.
        name: who signed.
        meaning: what the signature says.
        at: when, UTC.
        signature: the ed25519 signature, 128 hexadecimal digits.
    """

    key_id: str
    name: str
    meaning: Meaning
    at: str
    signature: str

    def signed_bytes(self, policy: SitePolicy) -> bytes:
        """What this signature is over: canonical JSON of the policy and of the signature's own words."""
        return _signed_bytes(policy, name=self.name, meaning=self.meaning, at=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPolicy:
    """A policy as read from its file; each signature of a key in `verified` was found good.

    `verified` maps the ids of those keys to what the site calls them; other signatures say nothing.
    """

    policy: SitePolicy
    digest: str
    signatures: tuple[PolicySignature, ...]
    verified: dict[str, str]

    @property
    def is_trusted(self) -> bool:
        """Whether anybody whom the site trusts has signed."""
        return bool(self.verified)


def sign_policy(
    policy: SitePolicy, key: SigningKey, *, name: str, meaning: Meaning, at: str | None = None
) -> PolicySignature:
    """A person's signature of a policy; `at` is the time now where omitted.

    Raises:
        PolicyInvalid: no name, or a policy that no file can hold.
    """
    policy, name, at = _normal(policy), name.strip(), at or utc_now()
    if not name:
        raise PolicyInvalid("A signature needs the name of the person who signs.", remedy="Give a name.")
    try:
        value = key.sign(_signed_bytes(policy, name=name, meaning=meaning, at=at))
    except ValueError as error:
        raise PolicyInvalid("The name of the person who signs is no text.", remedy="Give it in UTF-8.") from error
    return PolicySignature(key_id=key.key_id, name=name, meaning=meaning, at=at, signature=value.hex())


def policy_bytes(policy: SitePolicy, signatures: Sequence[PolicySignature]) -> bytes:
    """The one form in which a policy is filed: JSON with sorted names, indented for people.

    Raises:
        PolicyInvalid: a number that isn't finite, or a policy that contradicts itself.
    """
    plain = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "policy": to_plain(_normal(policy)),
        "signatures": [to_plain(signature) for signature in signatures],
    }
    return (json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_policy(
    path: Path,
    policy: SitePolicy,
    key: SigningKey,
    *,
    name: str,
    meaning: Meaning | str = Meaning.CERTIFIED,
    signatures: Sequence[PolicySignature] = (),
) -> SignedPolicy:
    """Write the policy with the earlier `signatures` and a new one by `key`, whole or not at all.

    Raises:
        PolicyInvalid: no name, a number that isn't finite, or a policy that contradicts itself.
        StorageFull: the disk is full; nothing is left behind.
    """
    signed = (*signatures, sign_policy(policy, key, name=name, meaning=Meaning(meaning)))
    write_bytes(path, policy_bytes(policy, signed))
    return load_policy(path, [key.trusted(name)])


def load_policy(path: Path, trusted: Sequence[TrustedKey]) -> SignedPolicy:
    """Read a policy that may be used: signed by a key that the site trusts, and as it was when it was signed.

    Args:
        path: the policy file.
        trusted: the keys that the site's setting `policy_keys` lists (see `load_trusted_keys`).

    Raises:
        PolicyMissing: no such file, or it can't be read.
        PolicyInvalid: not a policy file, to the byte as Pellucid writes it.
        PolicyTooNew: written by a later version of Pellucid.
        PolicyUnsigned: no signature.
        PolicyAltered: a signature of a trusted key isn't one of this policy.
        PolicyUntrusted: no signature of a trusted key.
    """
    signed = read_policy(path, trusted)
    if not signed.is_trusted:
        raise untrusted(path, signed, trusted)
    return signed


def read_policy(path: Path, trusted: Sequence[TrustedKey]) -> SignedPolicy:
    """As `load_policy`, but a policy that nobody trusted has signed is returned too, to be looked at."""
    policy, signatures = _parse(_read(path), path)
    if not signatures:
        raise PolicyUnsigned(f"The policy {path} holds no signature.")
    verified: dict[str, str] = {}
    for one in signatures:
        candidates = [key for key in trusted if key.key_id == one.key_id]
        if not candidates:
            continue
        data, value = one.signed_bytes(policy), bytes.fromhex(one.signature)
        good = next((key for key in candidates if key.verifies(value, data)), None)
        if good is None:
            raise PolicyAltered(
                f"The signature of {one.name} ({one.key_id}, {one.meaning.value}) is not one of this policy.",
                key_id=one.key_id,
            )
        verified[one.key_id] = good.name
    return SignedPolicy(policy=policy, digest=policy.digest, signatures=signatures, verified=verified)


def untrusted(path: Path, signed: SignedPolicy, trusted: Sequence[TrustedKey]) -> PolicyUntrusted:
    """The error that a policy is signed by nobody whom the site trusts."""
    by = ", ".join(dict.fromkeys(f"{one.key_id} ({one.name})" for one in signed.signatures))
    known = ", ".join(f"{key.key_id} ({key.name})" for key in trusted) or "none"
    return PolicyUntrusted(f"The policy {path} is signed by {by}; trusted for policies are: {known}.")


def _signed_bytes(policy: SitePolicy, *, name: str, meaning: Meaning, at: str) -> bytes:
    # Format and version are signed too, so that no other kind of file, nor a later reading, can stand in for this one.
    content = {"format": FORMAT, "version": FORMAT_VERSION, "policy": to_plain(policy)}
    return canonical_json(content | {"name": name, "meaning": meaning.value, "at": at})


def _normal(policy: SitePolicy) -> SitePolicy:
    """The policy as it comes back from a file.

    Raises:
        PolicyInvalid: it has no such form, or contradicts itself.
    """
    try:
        plain = to_plain(policy)
        canonical_json(plain)
        normal = from_plain(SitePolicy, plain)
    except ValueError as error:  # pydantic's and rfc8785's errors are both such
        raise PolicyInvalid(
            "The policy holds a value that no file can hold, such as a number that isn't finite."
        ) from (error)
    if wrong := contradiction(normal):
        raise PolicyInvalid(f"The policy contradicts itself: {wrong}.")
    return normal


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except FileNotFoundError as error:
        raise PolicyMissing(f"There is no policy file {path}.") from error
    except OSError as error:
        raise PolicyMissing(f"The policy file {path} can't be read: {error.strerror}.") from error
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyInvalid(f"{path} is larger than {MAX_POLICY_BYTES} bytes.")
    return data


def _parse(data: bytes, path: Path) -> tuple[SitePolicy, tuple[PolicySignature, ...]]:
    try:
        plain = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise PolicyInvalid(f"{path} is not JSON with finite numbers.") from error
    _check_format(plain, path)
    try:
        policy = from_plain(SitePolicy, plain["policy"])
        signatures = from_plain(tuple[PolicySignature, ...], plain["signatures"])
        exact = policy_bytes(policy, signatures) == data
    except (ValueError, KeyError, RecursionError) as error:
        raise PolicyInvalid(f"{path} does not follow the format of a policy.", detail=str(error)) from error
    if not exact:
        raise PolicyInvalid(f"{path} holds more than a policy, or is not laid out as Pellucid writes it.")
    for one in signatures:
        _check_signature(one, path)
    return policy, signatures


def _check_format(plain: Any, path: Path) -> None:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise PolicyInvalid(f"{path} is not a Pellucid site policy.")
    version = plain.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PolicyInvalid(f"The version {version!r} of {path} is no whole number from 1.")
    if version > FORMAT_VERSION:
        raise PolicyTooNew(f"{path} has version {version}; this version of Pellucid reads up to {FORMAT_VERSION}.")


def _check_signature(one: PolicySignature, path: Path) -> None:
    try:
        exact = bytes.fromhex(one.signature).hex() == one.signature and len(one.signature) == 2 * _SIGNATURE_BYTES
        has_zone = datetime.fromisoformat(one.at).tzinfo is not None
    except ValueError as error:
        raise PolicyInvalid(f"{path} holds a signature that is none.") from error
    if not (exact and has_zone and one.name.strip()):
        raise PolicyInvalid(f"{path} holds a signature without a name, a time in UTC or its {_SIGNATURE_BYTES} bytes.")


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")
