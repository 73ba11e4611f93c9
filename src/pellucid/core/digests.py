"""Digests of bytes, files and plain values, each with one canonical form."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def digest_bytes(data: bytes) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces of 1 MiB.

    Raises:
        OSError: the file can't be read.
    """
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
    return state.hexdigest()


def canonical_json(value: Any) -> bytes:
    """`value` (plain JSON types) in the JSON Canonicalization Scheme, RFC 8785.

    Raises:
        ValueError: a number that JSON can't hold (NaN, infinity) or a type that isn't JSON's.
    """
    import rfc8785

    return bytes(rfc8785.dumps(value))


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return digest_bytes(canonical_json(value))


def salted_digest(salt: str, text: str) -> str:
    """HMAC-SHA256 of `text` under `salt` (hexadecimal), its first 16 hexadecimal digits.

    Two lists of names under one salt can be compared without either being told; whoever has the salt can still test
    whether a known name is among them.
    """
    return hmac.new(bytes.fromhex(salt), text.encode(), hashlib.sha256).hexdigest()[:16]
