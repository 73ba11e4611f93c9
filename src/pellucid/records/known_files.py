"""What each file's bytes were when they were last hashed, so that an unchanged file isn't hashed again."""

import hashlib

from sqlalchemy import Connection, select

from pellucid.core.clock import utc_now
from pellucid.domain.scan import ScanIdentity
from pellucid.records.database import upsert
from pellucid.records.tables import known_file


def find(connection: Connection, path: str, fingerprint: str) -> ScanIdentity | None:
    """The identity of the file at `path`, None where it isn't known or the file has another fingerprint now."""
    query = select(known_file).where(known_file.c.place == _place(path), known_file.c.fingerprint == fingerprint)
    row = connection.execute(query).first()
    if row is None:
        return None
    return ScanIdentity(digest=row.digest, size_bytes=row.size_bytes, n_files=row.n_files)


def remember(connection: Connection, path: str, fingerprint: str, identity: ScanIdentity) -> None:
    """Keep the identity of the file at `path` in the place of an earlier one."""
    values = {
        "place": _place(path),
        "fingerprint": fingerprint,
        "digest": identity.digest,
        "size_bytes": identity.size_bytes,
        "n_files": identity.n_files,
        "at": utc_now(),
    }
    upsert(connection, known_file, values, key="place")


def _place(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
