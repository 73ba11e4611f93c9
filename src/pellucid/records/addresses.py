"""Where records are kept: a file of SQLite, or a database of PostgreSQL."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pellucid.records.errors import RecordsUnavailable

_POSTGRES = {"postgresql", "postgresql+psycopg", "postgres"}
_CHOICE = "Name an SQLite file, or a PostgreSQL database as postgresql://user@host/database."


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
        raise RecordsUnavailable(
            "The database address is neither a path nor an SQLAlchemy URL.", remedy=_CHOICE
        ) from error
    if url.drivername in _POSTGRES:
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise RecordsUnavailable(f"Records can't be kept in {url.drivername}.", remedy=_CHOICE)
    if url.database in (None, "", ":memory:"):
        raise RecordsUnavailable("Records need a file; several processes share them.", remedy=_CHOICE)
    return url


def is_file(url: URL) -> bool:
    """Whether the records lie in a file of this machine."""
    return url.get_backend_name() == "sqlite"


def describe(url: URL) -> str:
    """How a message names the records: without user or password."""
    if is_file(url):
        return str(url.database)
    host = url.host or str(url.query.get("host", "")) or "this machine"
    return f"the database {url.database or url.username} at {host}"
