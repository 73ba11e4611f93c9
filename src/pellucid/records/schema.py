"""Which schema a database has, and bringing it up to date with Alembic, which needs no file outside the package."""

from sqlalchemy import Connection, inspect, text

from pellucid.records.errors import RecordsNewer, RecordsOlder, RecordsUnavailable

REVISIONS = ("0001", "0002")
"""Every revision of the schema, oldest first; the last one is what this software works with."""


def current_revision(connection: Connection) -> str | None:
    """The database's revision; None for an empty database.

    Raises:
        RecordsUnavailable: the database has tables, but they are no records.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise RecordsUnavailable(
                f"The database holds {len(tables)} tables of something else.", remedy="Name a file of its own."
            )
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def require_head(connection: Connection) -> None:
    """Check that the schema is this software's.

    Raises:
        RecordsNewer: the schema is unknown, so a newer software made it.
        RecordsOlder: the schema is an earlier one, or there is none yet.
    """
    revision = current_revision(connection)
    _refuse_newer(revision)
    if revision != REVISIONS[-1]:
        raise RecordsOlder(f"The records have schema {revision or 'none'}, this software {REVISIONS[-1]}.")


def migrate(connection: Connection) -> None:
    """Bring the schema to this software's within the caller's transaction.

    Raises:
        RecordsNewer: the schema is unknown, so a newer software made it.
    """
    revision = current_revision(connection)
    _refuse_newer(revision)
    if revision == REVISIONS[-1]:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "pellucid.records:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, REVISIONS[-1])


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision not in REVISIONS:
        raise RecordsNewer(f"The records have schema {revision}; this software knows up to {REVISIONS[-1]}.")
