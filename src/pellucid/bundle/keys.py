"""Ed25519 keys: one signs bundles and stays private, its public half is what a site lists as trusted."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.bundle.errors import KeyExists, KeyExposed, KeyInvalid, KeyMissing
from pellucid.core.digests import digest_bytes
from pellucid.core.files import storage_errors, write_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SUFFIX = ".pub"
_MAX_KEY_BYTES = 64 * 1024
_PRIVATE_MARK = b"PRIVATE KEY"


def key_id(public: bytes) -> str:
    """The short name of a public key: the first 16 hexadecimal digits of the SHA-256 of its 32 raw bytes."""
    return digest_bytes(public)[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key that the site trusts.

    `public` are the 32 raw bytes; `name` is what the site calls it (the name of its file).
    """

    key_id: str
    public: bytes
    name: str

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is this key's signature of `data` (RFC 8032)."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; never printed, and on disk readable by its owner only."""

    _private: "Ed25519PrivateKey" = field(repr=False)

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new key from the operating system's randomness, in memory only."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> "SigningKey":
        """Read a private key (PEM, PKCS #8, not encrypted).

        Raises:
            KeyMissing: no such file, or it can't be read.
            KeyExposed: group or others may read or change it.
            KeyInvalid: not a private ed25519 key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        text = _read_key(path, private=True)
        try:
            private = load_pem_private_key(text, password=None)
        except (ValueError, TypeError) as error:
            raise KeyInvalid(f"{path} is no unencrypted private key in PEM form.") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyInvalid(f"{path} holds a private key that is not ed25519.")
        return cls(private)

    @property
    def public(self) -> bytes:
        """The 32 raw bytes of the public key."""
        return self._private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """The short name of the public key."""
        return key_id(self.public)

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the ed25519 signature of `data` (RFC 8032, deterministic)."""
        return self._private.sign(data)

    def trusted(self, name: str = "") -> TrustedKey:
        """The public half, as a site would list it."""
        return TrustedKey(key_id=self.key_id, public=self.public, name=name or self.key_id)

    def save(self, path: Path) -> Path:
        """Write the private key to `path` (mode 0600) and the public key to `path` + ".pub"; return the latter.

        Raises:
            KeyExists: one of both is already there; nothing is written.
            StorageFull: the disk is full; nothing is left behind.
        """
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

        public_path = path.with_name(path.name + PUBLIC_SUFFIX)
        if os.path.lexists(public_path):
            raise KeyExists(f"{public_path} exists.")
        path.parent.mkdir(parents=True, exist_ok=True)
        private = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_private(path, private)
        public = self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        try:
            write_bytes(public_path, public)
        except BaseException:
            path.unlink()
            raise
        return public_path


def _write_private(path: Path, data: bytes) -> None:
    with storage_errors(path):
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise KeyExists(f"{path} exists.") from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


def _read_key(path: Path, *, private: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyExposed(f"The private key {path} has mode {stat.S_IMODE(mode):04o}: others can get at it.")
            text = file.read(_MAX_KEY_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyMissing(f"There is no key file {path}.") from error
    except OSError as error:
        raise KeyMissing(f"The key file {path} can't be read: {error.strerror}.") from error
    if len(text) > _MAX_KEY_BYTES:
        raise KeyInvalid(f"{path} is too large for a key file.")
    return text


def read_public_key(path: Path) -> TrustedKey:
    """Read a public key (PEM).

    Raises:
        KeyMissing: no such file, or it can't be read.
        KeyInvalid: not a public ed25519 key; a private key is refused here, for it has no business at a site.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = _read_key(path)
    if _PRIVATE_MARK in text:
        raise KeyInvalid(
            f"{path} holds a private key, which must stay with its owner.",
            remedy=f"List the public key instead: the file that ends in {PUBLIC_SUFFIX}.",
        )
    public: Any
    try:
        public = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(f"{path} is no public key in PEM form.") from error
    if not isinstance(public, Ed25519PublicKey):
        raise KeyInvalid(f"{path} holds a public key that is not ed25519.")
    raw = public.public_bytes_raw()
    return TrustedKey(key_id=key_id(raw), public=raw, name=path.name.removesuffix(PUBLIC_SUFFIX))


def load_trusted_keys(paths: Iterable[Path]) -> tuple[TrustedKey, ...]:
    """Read the public keys that a site trusts; a key listed twice counts once.

    Args:
        paths: files, or folders of which every `*.pub` is read.

    Raises:
        KeyMissing: a path isn't there or can't be read.
        KeyInvalid: a file isn't a public ed25519 key.
    """
    keys: dict[bytes, TrustedKey] = {}
    for path in paths:
        files = sorted(path.glob(f"*{PUBLIC_SUFFIX}")) if path.is_dir() else [path]
        for file in files:
            key = read_public_key(file)
            keys.setdefault(key.public, key)
    return tuple(keys.values())


def read_keys(path: Path) -> tuple[TrustedKey, ...]:
    """The public half of every key at `path`: a public or private key file, or a folder of `*.pub` files.

    Raises:
        KeyMissing: nothing is there, or it can't be read.
        KeyExposed: a private key that others can read.
        KeyInvalid: not an ed25519 key.
    """
    if not path.is_dir() and _PRIVATE_MARK in _read_key(path):
        return (SigningKey.load(path).trusted(path.name),)
    return load_trusted_keys([path])
