"""The queue of many processes: ranks, back-off, deaths, quarantine, pauses; known files; scans that are to come."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_FLOAT = sa.Float(precision=53)
_QUEUED, _LEASED, _MISSING = sa.text("state = 'queued'"), sa.text("state = 'leased'"), sa.text("n_missing > 0")
_EPOCH = {
    "sqlite": "(julianday(enqueued_at) - 2440587.5) * 86400.0",
    "postgresql": "CAST(extract(epoch FROM CAST(enqueued_at AS timestamptz)) AS double precision)",
}
# Rows that were leased keep their lease; a STAT task lies 1e12 above all others.
_FILL = """
UPDATE task SET waiting_since = {epoch}, deaths = 0, kills = 0, alone = {no},
  rank = priority * 3600.0 + (CASE WHEN priority >= 1000 THEN 1e12 ELSE 0 END) - {epoch}
"""


def upgrade() -> None:
    dialect = op.get_context().dialect.name
    for index in ("ix_task_leased", "ix_task_queued", "ix_task_run", "ix_task_specimen"):
        op.drop_index(index, "task")
    for name, kind in _ADDED:
        op.add_column("task", sa.Column(name, kind, nullable=True))
    op.execute(_FILL.format(epoch=_EPOCH[dialect], no="0" if dialect == "sqlite" else "false"))
    _change_rules()
    _index_tasks()
    if dialect == "postgresql":
        # Rows change several times each: vacuum follows their number, not a fifth of a large table.
        op.execute("ALTER TABLE task SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01)")
    _add_to_specimens()
    _add_tables()


_ADDED: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("waiting_since", _FLOAT),
    ("rank", _FLOAT),
    ("not_before", _FLOAT),
    ("deaths", sa.Integer()),
    ("kills", sa.Integer()),
    ("alone", sa.Boolean()),
    ("cause", _TEXT),
)


def _change_rules() -> None:
    with op.batch_alter_table("task", copy_from=_task_before()) as batch:
        for name, kind in _ADDED:
            if name not in {"not_before", "cause"}:
                batch.alter_column(name, existing_type=kind, nullable=False)
        batch.drop_constraint(op.f("ck_task_state"), type_="check")
        batch.drop_constraint(op.f("ck_task_error"), type_="check")
        batch.create_check_constraint(
            op.f("ck_task_state"), "state IN ('queued', 'leased', 'done', 'failed', 'quarantined')"
        )
        batch.create_check_constraint(
            op.f("ck_task_error"), "(state IN ('failed', 'quarantined')) = (error_code IS NOT NULL)"
        )
        batch.create_check_constraint(op.f("ck_task_deaths"), "deaths >= 0 AND kills >= 0")


def _task_before() -> sa.Table:
    """The table as it stands: SQLite builds it anew from this, and doesn't tell its rules' names itself."""
    return sa.Table(
        "task",
        sa.MetaData(),
        sa.Column("id", _ID, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("lane", _TEXT, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("scan_digest", _TEXT, nullable=True),
        sa.Column("payload", _TEXT, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", _TEXT, nullable=True),
        sa.Column("lease_until", _FLOAT, nullable=True),
        sa.Column("run", _TEXT, nullable=True),
        sa.Column("error_code", _TEXT, nullable=True),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("enqueued_at", _TEXT, nullable=False),
        sa.Column("finished_at", _TEXT, nullable=True),
        *(sa.Column(name, kind, nullable=True) for name, kind in _ADDED),
        sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_task_error")),
        sa.CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name=op.f("ck_task_lease")),
        sa.CheckConstraint("(state = 'leased') = (owner IS NOT NULL)", name=op.f("ck_task_owner")),
        sa.CheckConstraint("state IN ('queued', 'leased', 'done', 'failed')", name=op.f("ck_task_state")),
        sa.CheckConstraint("attempts >= 0 AND max_attempts >= 1 AND token >= 0", name=op.f("ck_task_counts")),
        sa.ForeignKeyConstraint(["run"], ["run.run_id"], name=op.f("fk_task_run")),
        sa.ForeignKeyConstraint(["specimen"], ["specimen.specimen"], name=op.f("fk_task_specimen")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("key", name=op.f("uq_task_key")),
    )


def _index_tasks() -> None:
    best_first: list[str | sa.ColumnElement[Any]] = [sa.literal_column("rank DESC"), "id"]
    op.create_index("ix_task_queued", "task", best_first, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("ix_task_lane", "task", ["lane", *best_first], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index("ix_task_leased", "task", ["lease_until"], sqlite_where=_LEASED, postgresql_where=_LEASED)
    op.create_index("ix_task_owner", "task", ["owner"], sqlite_where=_LEASED, postgresql_where=_LEASED)
    op.create_index("ix_task_state", "task", ["lane", "state"])
    op.create_index(op.f("ix_task_run"), "task", ["run"])
    op.create_index(op.f("ix_task_specimen"), "task", ["specimen"])


def _add_to_specimens() -> None:
    op.add_column("specimen", sa.Column("n_expected", sa.Integer(), nullable=True))
    op.add_column("specimen", sa.Column("n_missing", sa.Integer(), nullable=True))
    op.add_column("specimen", sa.Column("wait_from", _FLOAT, nullable=True))
    op.add_column("specimen", sa.Column("deadline", _FLOAT, nullable=True))
    op.create_index("ix_specimen_missing", "specimen", ["id"], sqlite_where=_MISSING, postgresql_where=_MISSING)


def _add_tables() -> None:
    op.create_table(
        "pause",
        sa.Column("id", _ID, nullable=False),
        sa.Column("lane", _TEXT, nullable=True),
        sa.Column("reason", _TEXT, nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("paused_at", _TEXT, nullable=False),
        sa.Column("resumed_at", _TEXT, nullable=True),
        sa.Column("resumed_by", _TEXT, nullable=True),
        sa.CheckConstraint("(resumed_at IS NULL) = (resumed_by IS NULL)", name=op.f("ck_pause_resumed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pause")),
    )
    op.create_table(
        "known_file",
        sa.Column("place", _TEXT, nullable=False),
        sa.Column("fingerprint", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("n_files", sa.Integer(), nullable=False),
        sa.Column("at", _TEXT, nullable=False),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_known_file_digest")),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_known_file")),
    )
