"""The hash chain: each event's leaf covers its number, the leaf before it and its bytes."""

import hashlib

GENESIS = bytes(32)
"""What stands before the first event."""

_LEAF = b"\x00"  # RFC 6962 section 2.1 tells a leaf from an inner node by this byte


def leaf_hash(seq: int, prev: bytes, payload: bytes) -> bytes:
    """SHA-256(0x00 || seq as 8 bytes, big-endian || prev || payload), 32 bytes."""
    return hashlib.sha256(_LEAF + seq.to_bytes(8, "big") + prev + payload).digest()
