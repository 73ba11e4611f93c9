"""Pseudonyms: stable names that say nothing, from a keyed digest of the real ones."""

import hashlib

from sqlalchemy import Connection, select

from pellucid.records.tables import pseudonym as pseudonyms
from pellucid.records.types import PseudonymKind

_PREFIX: dict[str, str] = {"specimen": "S", "case": "C", "scan": "F"}
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing that reads like something else
_LENGTH = 8


def derive(salt: bytes, kind: str, identifier: str, counter: int) -> str:
    """The `counter`th candidate for an identifier, such as `S-7K3QW9TD`: 40 bits of keyed BLAKE2b."""
    text = "\x1f".join((kind, str(counter), identifier))
    state = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=5, key=salt, person=b"pseudonym")
    number = int.from_bytes(state.digest(), "big")
    digits = (_ALPHABET[number >> (5 * place) & 31] for place in reversed(range(_LENGTH)))
    return f"{_PREFIX[kind]}-{''.join(digits)}"


def find(connection: Connection, kind: PseudonymKind, identifier: str) -> str | None:
    """The pseudonym that an identifier already has."""
    query = select(pseudonyms.c.pseudonym).where(pseudonyms.c.kind == kind, pseudonyms.c.identifier == identifier)
    return connection.execute(query).scalar()


def find_or_assign(connection: Connection, salt: bytes, kind: PseudonymKind, identifier: str) -> str:
    """The identifier's pseudonym, assigned within the caller's transaction where it has none yet.

    40 bits repeat among a million names with even odds, so a candidate that is taken is passed over.
    """
    known = find(connection, kind, identifier)
    if known is not None:
        return known
    counter = 0
    while _taken(connection, candidate := derive(salt, kind, identifier, counter)):
        counter += 1
    row = {"pseudonym": candidate, "kind": kind, "identifier": identifier, "counter": counter}
    connection.execute(pseudonyms.insert().values(row))
    return candidate


def identify(connection: Connection, pseudonym: str) -> tuple[str, str] | None:
    """Kind and identifier behind a pseudonym, None where it was never assigned."""
    query = select(pseudonyms.c.kind, pseudonyms.c.identifier).where(pseudonyms.c.pseudonym == pseudonym)
    row = connection.execute(query).first()
    return None if row is None else (row.kind, row.identifier)


def _taken(connection: Connection, candidate: str) -> bool:
    return connection.execute(select(pseudonyms.c.kind).where(pseudonyms.c.pseudonym == candidate)).first() is not None
