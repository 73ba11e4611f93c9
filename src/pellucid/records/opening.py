"""Opening a database of records: the file, its schema, the site's row."""

import os
import secrets
import uuid
from pathlib import Path

from sqlalchemy import Connection, select

from pellucid.core.clock import utc_now
from pellucid.core.files import storage_errors
from pellucid.records import schema
from pellucid.records.addresses import is_file, resolve_url
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.database import Database
from pellucid.records.errors import RecordsDamaged, RecordsUnavailable
from pellucid.records.owners import process_owner
from pellucid.records.records import Records
from pellucid.records.tables import site
from pellucid.records.types import Action

DATABASE_NAME = "records.sqlite"
"""The file of records in a run's output folder."""

_SALT_BYTES = 32


def open_records(
    url_or_path: str | Path, *, create: bool = True, actor: str | None = None, busy_timeout_s: float = 60.0
) -> Records:
    """Open records, made and brought up to the current schema where needed.

    A file lies on a local disk: SQLite's locks and its write-ahead log don't hold on network file systems. Processes
    of several machines share a PostgreSQL database, which must exist and be empty at first.

    Args:
        url_or_path: an SQLite file, its SQLAlchemy URL, or `postgresql://user@host/database`.
        create: make the file and migrate it; where False, a missing file or an older schema is an error and nothing
            is changed.
        actor: who acts, for the audit trail; this process where omitted.
        busy_timeout_s: how long to wait for another process's transaction.

    Raises:
        RecordsUnavailable: no such file or server, no permission, or something else than records.
        RecordsNewer: the schema is newer than this software.
        RecordsOlder: the schema is older and may not be changed.
        RecordsDamaged: the file is no database, or is damaged.
        RecordsLocked: another process holds it.
        StorageFull: the disk is full.
    """
    url = resolve_url(url_or_path)
    if is_file(url):
        _find_file(Path(str(url.database)), create=create)
    database = Database(url, busy_timeout_s=busy_timeout_s)
    acting = actor or f"software:{process_owner()}"
    try:
        if create:
            database.enable_log()
            _bring_up_to_date(database, acting)
        with database.read() as connection:
            schema.require_head(connection)
            trail = _read_trail(connection, acting)
        if create and not trail.salt:
            raise RecordsDamaged(f"{database.name} has lost the row that identifies its site.")
    except BaseException:
        database.close()
        raise
    return Records(database, trail)


def _find_file(path: Path, *, create: bool) -> None:
    if create:
        _create_file(path)
    elif not path.is_file():
        raise RecordsUnavailable(f"There are no records at {path}.")


def _create_file(path: Path) -> None:
    """An empty file that only its owner may read: it will hold who the specimens belong to."""
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError as error:
        if not path.is_file():
            raise RecordsUnavailable(f"{path} can't hold records: it is not a file.") from error
    except OSError as error:
        raise RecordsUnavailable(f"Records can't be made at {path}: {error.strerror}.") from error


def _bring_up_to_date(database: Database, actor: str) -> None:
    with database.read() as connection:
        if schema.current_revision(connection) == schema.REVISIONS[-1]:
            return
    with database.migration() as connection:
        schema.migrate(connection)
        if connection.execute(select(site.c.id)).first() is None:
            _create_site(connection, actor)


def _create_site(connection: Connection, actor: str) -> None:
    values = {"id": 1, "uuid": str(uuid.uuid4()), "salt": secrets.token_bytes(_SALT_BYTES), "created_at": utc_now()}
    connection.execute(site.insert().values(values))
    trail = _read_trail(connection, actor)
    trail.append(connection, Action.SITE_CREATE, Subject("site", trail.site_uuid), rows=[(site, 1)])


def _read_trail(connection: Connection, actor: str) -> AuditTrail:
    row = connection.execute(select(site.c.salt, site.c.uuid)).first()
    if row is None:
        # The verifier must still be able to open such a database and say so.
        return AuditTrail(salt=b"", site_uuid="", actor=actor)
    return AuditTrail(salt=row.salt, site_uuid=row.uuid, actor=actor)
