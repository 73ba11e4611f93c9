"""The database drivers' errors as coded ones."""

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.records.errors import (
    RecordsDamaged,
    RecordsLocked,
    RecordsRefused,
    RecordsUnavailable,
    ValueUnrecordable,
)

_SHM_SIZE = 4874  # SQLITE_IOERR_SHMSIZE: the index of the write-ahead log could not be grown
_SQLITE: dict[int, type[PellucidError]] = {
    sqlite3.SQLITE_FULL: StorageFull,
    sqlite3.SQLITE_BUSY: RecordsLocked,
    sqlite3.SQLITE_LOCKED: RecordsLocked,
    sqlite3.SQLITE_CANTOPEN: RecordsUnavailable,
    sqlite3.SQLITE_READONLY: RecordsUnavailable,
    sqlite3.SQLITE_PERM: RecordsUnavailable,
    sqlite3.SQLITE_IOERR: RecordsUnavailable,
    sqlite3.SQLITE_CORRUPT: RecordsDamaged,
    sqlite3.SQLITE_NOTADB: RecordsDamaged,
}

# PostgreSQL's SQLSTATE: the longest prefix that fits. Appendix A of its manual lists them.
_POSTGRES: dict[str, type[PellucidError]] = {
    "08": RecordsUnavailable,  # connection exception
    "22": ValueUnrecordable,  # data exception: a number out of range, a character it can't hold
    "25006": RecordsUnavailable,  # read-only transaction
    "25P03": RecordsUnavailable,  # ended for idling within a transaction
    "28": RecordsUnavailable,  # wrong user or password
    "3D000": RecordsUnavailable,  # no such database
    "40": RecordsLocked,  # deadlock, serialisation failure
    "42501": RecordsUnavailable,  # insufficient privilege
    "53": RecordsUnavailable,  # too many connections, out of memory
    "53100": StorageFull,
    "55P03": RecordsLocked,  # lock_timeout
    "57": RecordsUnavailable,  # the server shuts down, crashed, or starts
    "57014": RecordsLocked,  # statement_timeout
    "58": RecordsUnavailable,  # the server's disk fails
    "XX001": RecordsDamaged,
    "XX002": RecordsDamaged,
}
# psycopg's own, by name so that it needn't be installed.
_DRIVER: dict[str, type[PellucidError]] = {
    "DataError": ValueUnrecordable,  # a value that it can't encode
    "ConnectionTimeout": RecordsUnavailable,
    "OperationalError": RecordsUnavailable,  # a connection that could not be made, or broke
    "InterfaceError": RecordsUnavailable,
}
_SERVER_REMEDY = (
    "Check that the PostgreSQL server runs and takes connections, and that this account may write; "
    "then start the same command again."
)


@contextlib.contextmanager
def coded_errors(name: str) -> Iterator[None]:
    """Turn the drivers' errors into coded ones; let all else pass."""
    try:
        yield
    except DBAPIError as error:
        raise _coded(error.orig, name) from error
    except sqlite3.Error as error:  # as a connection is opened, before SQLAlchemy wraps what it raises
        raise _coded(error, name) from error
    except PoolExhausted as error:
        raise RecordsLocked(f"All connections of this process to {name} are in use.") from error


def _coded(error: BaseException | None, name: str) -> PellucidError:
    kind = _kind(error)
    said = str(error).strip().rstrip(".")
    if kind is StorageFull:
        return StorageFull(f"No space is left to write {name}.")
    if kind is RecordsLocked:
        return RecordsLocked(f"{name} is held by another process.")
    if kind is RecordsUnavailable:
        remedy = None if isinstance(error, sqlite3.Error) else _SERVER_REMEDY
        return RecordsUnavailable(f"{name} can't be opened, read or written: {said}.", remedy=remedy)
    if kind is RecordsDamaged:
        return RecordsDamaged(f"{name} can't be read: {said}.")
    if kind is ValueUnrecordable:
        return ValueUnrecordable(f"{name} can't hold a value: {said}.")
    return RecordsRefused(f"{name} refused a change: {said}.")


def _kind(error: BaseException | None) -> type[PellucidError]:
    if isinstance(error, sqlite3.Error):
        extended = getattr(error, "sqlite_errorcode", 0)
        return StorageFull if extended == _SHM_SIZE else _SQLITE.get(extended & 0xFF, RecordsRefused)
    state = getattr(error, "sqlstate", None)
    if state is None:
        return _DRIVER.get(type(error).__name__, RecordsRefused)
    return next((_POSTGRES[state[:n]] for n in (5, 2) if state[:n] in _POSTGRES), RecordsRefused)
