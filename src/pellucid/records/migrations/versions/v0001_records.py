"""The tables of stage 1, and the guards that keep the audit trail append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only where the key's type is exactly INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_SQLITE_GUARDS = (
    """
    CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    """
    CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END
    """,
    # Also stops INSERT OR REPLACE, which removes rows without asking the trigger above.
    """
    CREATE TRIGGER audit_event_only_append BEFORE INSERT ON audit_event
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit_event)
      OR NEW.prev IS NOT coalesce((SELECT leaf FROM audit_event ORDER BY seq DESC LIMIT 1), zeroblob(32))
    BEGIN SELECT RAISE(ABORT, 'an audit event continues the last one'); END
    """,
)

# ALWAYS: they act in a session that calls itself a replica too.
_POSTGRES_GUARDS = (
    """
    CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    """
    CREATE FUNCTION audit_event_continue() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM audit_event)
        OR NEW.prev IS DISTINCT FROM coalesce(
          (SELECT leaf FROM audit_event ORDER BY seq DESC LIMIT 1), decode(repeat('00', 32), 'hex'))
      THEN
        RAISE EXCEPTION 'an audit event continues the last one' USING ERRCODE = 'integrity_constraint_violation';
      END IF;
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER audit_event_no_update BEFORE UPDATE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_refuse()
    """,
    """
    CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_refuse()
    """,
    """
    CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse()
    """,
    """
    CREATE TRIGGER audit_event_only_append BEFORE INSERT ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_event_continue()
    """,
    "ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_no_update",
    "ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_no_delete",
    "ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_no_truncate",
    "ALTER TABLE audit_event ENABLE ALWAYS TRIGGER audit_event_only_append",
)
_GUARDS = {"sqlite": _SQLITE_GUARDS, "postgresql": _POSTGRES_GUARDS}


def upgrade() -> None:
    op.create_table(
        "audit_event",
        sa.Column("seq", _ID, autoincrement=False, nullable=False),
        sa.Column("prev", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(prev) = 32 AND length(leaf) = 32", name=op.f("ck_audit_event_hashes")),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_audit_event_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("leaf", name=op.f("uq_audit_event_leaf")),
        sa.UniqueConstraint("prev", name=op.f("uq_audit_event_prev")),
    )
    op.create_table(
        "pseudonym",
        sa.Column("pseudonym", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("identifier", _TEXT, nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('specimen', 'case', 'scan')", name=op.f("ck_pseudonym_kind")),
        sa.PrimaryKeyConstraint("pseudonym", name=op.f("pk_pseudonym")),
        sa.UniqueConstraint("kind", "identifier", name=op.f("uq_pseudonym_kind_identifier")),
    )
    op.create_table(
        "run",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _TEXT, nullable=False),
        sa.Column("purpose", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("owner", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("policy", _TEXT, nullable=False),
        sa.Column("software", _TEXT, nullable=False),
        sa.Column("software_version", _TEXT, nullable=False),
        sa.Column("settings", _TEXT, nullable=False),
        sa.Column("command", _TEXT, nullable=False),
        sa.Column("started_at", _TEXT, nullable=False),
        sa.Column("finished_at", _TEXT, nullable=True),
        sa.Column("summary", _TEXT, nullable=True),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f("ck_run_finished")),
        sa.CheckConstraint("state IN ('running', 'completed', 'failed', 'interrupted')", name=op.f("ck_run_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("run_id", name=op.f("uq_run_run_id")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uuid", _TEXT, nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TEXT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_site_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "specimen",
        sa.Column("id", _ID, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("case_name", _TEXT, nullable=False),
        sa.Column("patient", _TEXT, nullable=False),
        sa.Column("strata", _TEXT, nullable=False),
        sa.Column("expected", _TEXT, nullable=False),
        sa.Column("registered_at", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_specimen")),
        sa.UniqueConstraint("specimen", name=op.f("uq_specimen_specimen")),
    )
    op.create_index(op.f("ix_specimen_case_name"), "specimen", ["case_name"], unique=False)
    op.create_index(op.f("ix_specimen_patient"), "specimen", ["patient"], unique=False)
    op.create_table(
        "decision",
        sa.Column("id", _ID, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run", _TEXT, nullable=False),
        sa.Column("at", _TEXT, nullable=False),
        sa.Column("verdict", _TEXT, nullable=False),
        sa.Column("disposition", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("policy", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("document", _TEXT, nullable=False),
        sa.CheckConstraint("disposition IN ('silent', 'for_review', 'reported')", name=op.f("ck_decision_disposition")),
        sa.CheckConstraint("verdict IN ('negative', 'positive', 'undetermined')", name=op.f("ck_decision_verdict")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_decision_version")),
        sa.ForeignKeyConstraint(["run"], ["run.run_id"], name=op.f("fk_decision_run")),
        sa.ForeignKeyConstraint(["specimen"], ["specimen.specimen"], name=op.f("fk_decision_specimen")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision")),
        sa.UniqueConstraint("specimen", "version", name=op.f("uq_decision_specimen_version")),
    )
    op.create_index(op.f("ix_decision_at"), "decision", ["at"], unique=False)
    op.create_index(op.f("ix_decision_run"), "decision", ["run"], unique=False)
    op.create_table(
        "scan",
        sa.Column("id", _ID, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("block", _TEXT, nullable=False),
        sa.Column("slide", _TEXT, nullable=False),
        sa.Column("path", _TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("n_files", sa.Integer(), nullable=False),
        sa.Column("registered_at", _TEXT, nullable=False),
        sa.Column("withdrawn_at", _TEXT, nullable=True),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_scan_digest")),
        sa.CheckConstraint("size_bytes >= 0 AND n_files >= 1", name=op.f("ck_scan_size")),
        sa.ForeignKeyConstraint(["specimen"], ["specimen.specimen"], name=op.f("fk_scan_specimen")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan")),
        sa.UniqueConstraint("digest", "specimen", name=op.f("uq_scan_digest_specimen")),
    )
    op.create_index(op.f("ix_scan_specimen"), "scan", ["specimen"], unique=False)
    op.create_table(
        "task",
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
        sa.Column("lease_until", sa.Float(precision=53), nullable=True),
        sa.Column("run", _TEXT, nullable=True),
        sa.Column("error_code", _TEXT, nullable=True),
        sa.Column("error_message", _TEXT, nullable=True),
        sa.Column("enqueued_at", _TEXT, nullable=False),
        sa.Column("finished_at", _TEXT, nullable=True),
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
    op.create_index(
        "ix_task_leased",
        "task",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_task_queued",
        "task",
        [sa.literal_column("priority DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(op.f("ix_task_run"), "task", ["run"], unique=False)
    op.create_index(op.f("ix_task_specimen"), "task", ["specimen"], unique=False)
    op.create_table(
        "observation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("task_key", _TEXT, nullable=False),
        sa.Column("scan", _TEXT, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("run", _TEXT, nullable=False),
        sa.Column("at", _TEXT, nullable=False),
        sa.Column("purpose", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("error", _TEXT, nullable=True),
        sa.Column("document", _TEXT, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.run_id"], name=op.f("fk_observation_run")),
        sa.ForeignKeyConstraint(["task_key"], ["task.key"], name=op.f("fk_observation_task_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observation")),
    )
    op.create_index(op.f("ix_observation_at"), "observation", ["at"], unique=False)
    op.create_index(op.f("ix_observation_run"), "observation", ["run"], unique=False)
    op.create_index(op.f("ix_observation_specimen"), "observation", ["specimen"], unique=False)
    op.create_index(op.f("ix_observation_task_key"), "observation", ["task_key"], unique=False)
    op.create_table(
        "scan_result",
        sa.Column("id", _ID, nullable=False),
        sa.Column("task_key", _TEXT, nullable=False),
        sa.Column("observation", _ID, nullable=False),
        sa.Column("specimen", _TEXT, nullable=False),
        sa.Column("scan", _TEXT, nullable=False),
        sa.Column("run", _TEXT, nullable=False),
        sa.Column("at", _TEXT, nullable=False),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("policy", _TEXT, nullable=False),
        sa.Column("software", _TEXT, nullable=False),
        sa.Column("logits", sa.LargeBinary(), nullable=False),
        sa.Column("temperature", sa.Float(precision=53), nullable=True),
        sa.Column("posterior", _TEXT, nullable=True),
        sa.Column("quality", _TEXT, nullable=True),
        sa.Column("info", _TEXT, nullable=True),
        sa.Column("findings", _TEXT, nullable=False),
        sa.Column("artefacts", _TEXT, nullable=False),
        sa.Column("n_tiles", sa.Integer(), nullable=False),
        sa.Column("n_unreadable", sa.Integer(), nullable=False),
        sa.CheckConstraint("(posterior IS NULL) = (temperature IS NULL)", name=op.f("ck_scan_result_temperature")),
        sa.CheckConstraint("length(logits) % 8 = 0", name=op.f("ck_scan_result_logits")),
        sa.CheckConstraint(
            "n_tiles >= 0 AND n_unreadable >= 0 AND n_unreadable <= n_tiles", name=op.f("ck_scan_result_tiles")
        ),
        sa.ForeignKeyConstraint(["observation"], ["observation.id"], name=op.f("fk_scan_result_observation")),
        sa.ForeignKeyConstraint(["run"], ["run.run_id"], name=op.f("fk_scan_result_run")),
        sa.ForeignKeyConstraint(["specimen"], ["specimen.specimen"], name=op.f("fk_scan_result_specimen")),
        sa.ForeignKeyConstraint(["task_key"], ["task.key"], name=op.f("fk_scan_result_task_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_result")),
        sa.UniqueConstraint("observation", name=op.f("uq_scan_result_observation")),
        sa.UniqueConstraint("task_key", name=op.f("uq_scan_result_task_key")),
    )
    op.create_index(op.f("ix_scan_result_run"), "scan_result", ["run"], unique=False)
    op.create_index(op.f("ix_scan_result_scan"), "scan_result", ["scan"], unique=False)
    op.create_index(op.f("ix_scan_result_specimen"), "scan_result", ["specimen"], unique=False)
    for guard in _GUARDS[op.get_context().dialect.name]:
        op.execute(guard)
