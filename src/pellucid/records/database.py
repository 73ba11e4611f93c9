"""The one way to the database: transactions that lock when they begin, and its errors with codes."""

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    RowMapping,
    Select,
    create_engine,
    event,
    make_url,
    true,
)
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.records.errors import RecordsDamaged, RecordsLocked, RecordsRefused, RecordsUnavailable

_BEGIN = "pellucid_begin"
_KEYS_AT_ONCE = 10_000  # SQLite takes 32,766 parameters in a statement
_SHM_SIZE = 4874  # SQLITE_IOERR_SHMSIZE: the index of the write-ahead log could not be grown
_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class database_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Seconds since 1970 by the database's clock, the only clock that leases are measured with."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now)
def _standard_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def resolve_url(url_or_path: str | Path) -> URL:
    """The SQLAlchemy URL of a path, or of what already is a URL.

    Raises:
        RecordsUnavailable: a malformed URL, a database of another kind, or one in memory.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).absolute()))
    try:
        url = make_url(url_or_path)
    except ArgumentError as error:
        raise RecordsUnavailable("The database address is neither a path nor an SQLAlchemy URL.") from error
    if url.get_backend_name() != "sqlite":
        raise RecordsUnavailable(f"Records can't be kept in {url.get_backend_name()}.", remedy="Name an SQLite file.")
    if url.database in (None, "", ":memory:"):
        raise RecordsUnavailable("Records need a file; several processes share them.", remedy="Name an SQLite file.")
    return url


class Database:
    """An engine with its two kinds of transaction.

    Args:
        url: of an SQLite file.
        busy_timeout_s: how long to wait for another process's transaction.
    """

    def __init__(self, url: URL, *, busy_timeout_s: float = 60.0) -> None:
        self.name = str(url.database)
        self._timeout_s = busy_timeout_s
        self.engine = _create_engine(url, busy_timeout_s)
        self._writer = self.engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout and changes nothing."""
        with coded_errors(self.name), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its first moment and commits at its end, or leaves nothing.

        Locking at once is what makes "read the last event, then append" safe; a transaction that began by reading
        could not be upgraded once another process had written.

        Raises:
            RecordsLocked: the lock was not to be had within the waiting time.
            StorageFull: the disk is full.
        """
        with coded_errors(self.name), self._writer.begin() as connection:
            yield connection

    def enable_log(self) -> None:
        """Keep a write-ahead log, a property of the file: readers and the one writer then don't wait for each other.

        The switch ignores SQLite's own waiting time, so that two processes that create the same file at once
        must wait here.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                with coded_errors(self.name):
                    self._set_journal()
                return
            except RecordsLocked:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _set_journal(self) -> None:
        # Past SQLAlchemy, which would begin a transaction, within which the mode can't be set.
        with contextlib.closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode = WAL")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def key_conditions(column: Column[str], keys: Collection[str] | None) -> Iterator[ColumnElement[bool]]:
    """Conditions that together hold for the given keys, each with few enough of them for one statement."""
    if keys is None:
        yield true()
        return
    ordered = sorted(keys)
    for start in range(0, len(ordered), _KEYS_AT_ONCE):
        yield column.in_(ordered[start : start + _KEYS_AT_ONCE])


def read_by_keys(
    connection: Connection, query: Select[Any], column: Column[str], keys: Collection[str] | None
) -> list[RowMapping]:
    """The rows of a query whose `column` is one of `keys`, in no order; all rows where `keys` is None."""
    return [
        row
        for condition in key_conditions(column, keys)
        for row in connection.execute(query.where(condition)).mappings()
    ]


def _create_engine(url: URL, busy_timeout_s: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN is a deferred one, and missing before SELECT and DDL: SQLAlchemy begins instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


@contextlib.contextmanager
def coded_errors(name: str) -> Iterator[None]:
    """Turn the driver's errors into coded ones; let all else pass."""
    try:
        yield
    except DBAPIError as error:
        raise _coded(error.orig, name) from error
    except sqlite3.Error as error:  # as a connection is opened, before SQLAlchemy wraps what it raises
        raise _coded(error, name) from error


def _coded(error: BaseException | None, name: str) -> PellucidError:
    extended = getattr(error, "sqlite_errorcode", 0)
    primary = extended & 0xFF
    if primary in _FULL or extended == _SHM_SIZE:
        return StorageFull(f"No space is left to write {name}.")
    if primary in _BUSY:
        return RecordsLocked(f"{name} is held by another process.")
    if primary in _CLOSED:
        return RecordsUnavailable(f"{name} can't be opened, read or written: {error}.")
    if primary in _DAMAGED:
        return RecordsDamaged(f"{name} can't be read: {error}.")
    return RecordsRefused(f"{name} refused a change: {error}.")
