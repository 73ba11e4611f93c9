"""How each kind of database is opened, and how its transactions begin."""

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from pellucid.records.errors import RecordsUnavailable

BEGIN = "pellucid_begin"
"""The execution option that holds the statement with which a transaction begins."""

WRITE_LOCK = 0x50454C4C55434944
"""The number of PostgreSQL's advisory lock that writing transactions hold: one a database."""

_IDLE_S = 30.0  # a process frozen within a transaction loses it before those that wait for its lock give up


def open_sqlite(url: URL, busy_timeout_s: float) -> Engine:
    """An engine on a file: every transaction begins when SQLAlchemy says so."""
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own BEGIN is a deferred one, and missing before SELECT and DDL: SQLAlchemy begins instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    _begin_with(engine, default="BEGIN")
    return engine


def open_postgres(url: URL, busy_timeout_s: float) -> Engine:
    """An engine on a server. A pooled connection is tried before its use and replaced where it went stale.

    Raises:
        RecordsUnavailable: the driver isn't installed.
    """
    try:
        # Few are kept open: many processes share a server, and each holds its connections for itself.
        engine = create_engine(
            url, pool_pre_ping=True, pool_size=2, max_overflow=14, connect_args=_connect_arguments(url, busy_timeout_s)
        )
    except ImportError as error:
        raise RecordsUnavailable(
            "PostgreSQL's driver is not installed.", remedy="Install pellucid with its extra `postgres`."
        ) from error
    _begin_with(engine, default=None)
    return engine


def _connect_arguments(url: URL, busy_timeout_s: float) -> dict[str, Any]:
    """Waiting times, so that no process hangs on a lost server; what the address itself states goes before them."""
    settings = {
        "lock_timeout": max(1, round(busy_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": round(min(_IDLE_S, max(1.0, busy_timeout_s / 2)) * 1000),
    }
    stated = str(url.query.get("options", ""))
    arguments: dict[str, Any] = {
        "options": " ".join([*(f"-c {name}={value}" for name, value in settings.items()), stated]).strip(),
        "client_encoding": "utf8",
        "application_name": "pellucid",
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 40_000,
    }
    return {name: value for name, value in arguments.items() if name == "options" or name not in url.query}


def _begin_with(engine: Engine, *, default: str | None) -> None:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(BEGIN, default)
        if statement is not None:
            connection.exec_driver_sql(statement)
