"""The one way to the database: transactions of three kinds, on SQLite and PostgreSQL alike."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import URL, Column, ColumnElement, Connection, Engine, RowMapping, Select, Table, true
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from pellucid.records.addresses import describe, is_file
from pellucid.records.backends import BEGIN, WRITE_LOCK, open_postgres, open_sqlite
from pellucid.records.driver_errors import coded_errors
from pellucid.records.errors import RecordsDamaged, RecordsLocked

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_KEYS_AT_ONCE = 10_000  # SQLite takes 32,766 parameters in a statement, PostgreSQL 65,535


class Database:
    """An engine with its kinds of transaction.

    Args:
        url: as `resolve_url` gives it.
        busy_timeout_s: how long to wait for another process's transaction.
    """

    def __init__(self, url: URL, *, busy_timeout_s: float = 60.0) -> None:
        self.name = describe(url)
        self.is_file = is_file(url)
        self._timeout_s = busy_timeout_s
        if self.is_file:
            self.engine = open_sqlite(url, busy_timeout_s)
            self._reader = self._begun_with("BEGIN")
            self._writer = self._row_writer = self._begun_with("BEGIN IMMEDIATE")
        else:
            self.engine = open_postgres(url, busy_timeout_s)
            self._reader = self._begun_with(_SNAPSHOT)
            self._writer = self._begun_with(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
            self._row_writer = self._begun_with(None)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout and changes nothing."""
        with coded_errors(self.name), self._reader.connect() as connection:
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

    @contextlib.contextmanager
    def write_rows(self) -> Iterator[Connection]:
        """A transaction that locks only the rows it changes; on SQLite, where there is one lock, as `write`.

        For changes that append no audit event and rest on nothing but those rows: taking and keeping tasks.

        Raises:
            RecordsLocked: a row was not to be had within the waiting time.
            StorageFull: the disk is full.
        """
        with coded_errors(self.name), self._row_writer.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def migration(self) -> Iterator[Connection]:
        """As `write`, for changes of the schema.

        SQLite changes a table's rules by building the table anew, which foreign keys forbid; they are checked at
        the end instead.
        """
        with coded_errors(self.name), self._writer.connect() as connection:
            if not self.is_file:
                with connection.begin():
                    yield connection
                return
            self._check_foreign_keys(connection, "OFF")
            try:
                with connection.begin():
                    yield connection
                    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                        raise RecordsDamaged(f"{self.name} has rows that tell of others which are gone.")
            finally:
                self._check_foreign_keys(connection, "ON")

    def enable_log(self) -> None:
        """Keep a write-ahead log, a property of the file: readers and the one writer then don't wait for each other.

        The switch ignores SQLite's own waiting time, so that two processes that create the same file at once
        must wait here. A server keeps such a log anyway.
        """
        deadline = time.monotonic() + self._timeout_s
        while self.is_file:
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

    def _begun_with(self, statement: str | None) -> Engine:
        """The engine, with that statement at the start of each transaction."""
        return self.engine.execution_options(**{BEGIN: statement})

    def _check_foreign_keys(self, connection: Connection, switch: str) -> None:
        # Past SQLAlchemy too: within a transaction the switch does nothing.
        connection.connection.cursor().execute(f"PRAGMA foreign_keys = {switch}")

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


def upsert(connection: Connection, table: Table, values: Mapping[str, Any], *, key: str) -> None:
    """Insert a row, or write over the one whose `key` column is the same."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = insert(table).values(dict(values))
    others = {name: value for name, value in values.items() if name != key}
    connection.execute(statement.on_conflict_do_update(index_elements=[key], set_=others))
