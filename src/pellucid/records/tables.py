"""The tables. What is written here and what the migrations build are the same; a test compares them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# SQLite numbers rows by itself only where the key's type is exactly INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

site = Table(
    "site",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("created_at", Text, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row: who these records belong to, and the salt of their pseudonyms. Also the row that appending locks."""

run = Table(
    "run",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("purpose", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("software", Text, nullable=False),
    Column("software_version", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("summary", Text),
    CheckConstraint("state IN ('running', 'completed', 'failed', 'interrupted')", name="state"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
)

specimen = Table(
    "specimen",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("specimen", Text, nullable=False, unique=True),
    Column("case_name", Text, nullable=False, index=True),
    Column("patient", Text, nullable=False, index=True),
    Column("strata", Text, nullable=False),
    Column("expected", Text, nullable=False),
    Column("registered_at", Text, nullable=False),
)

scan = Table(
    "scan",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("specimen", Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("block", Text, nullable=False),
    Column("slide", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("n_files", Integer, nullable=False),
    Column("registered_at", Text, nullable=False),
    Column("withdrawn_at", Text),
    UniqueConstraint("digest", "specimen"),
    CheckConstraint("length(digest) = 64", name="digest"),
    CheckConstraint("size_bytes >= 0 AND n_files >= 1", name="size"),
)
"""One row for each specimen a scan is filed under; one digest under two cases is an identity conflict."""

task = Table(
    "task",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("specimen", Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("scan_digest", Text),
    Column("payload", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("owner", Text),
    Column("lease_until", Float(53)),
    Column("run", Text, ForeignKey("run.run_id"), index=True),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("enqueued_at", Text, nullable=False),
    Column("finished_at", Text),
    CheckConstraint("state IN ('queued', 'leased', 'done', 'failed')", name="state"),
    CheckConstraint("(state = 'leased') = (owner IS NOT NULL)", name="owner"),
    CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="lease"),
    CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    CheckConstraint("attempts >= 0 AND max_attempts >= 1 AND token >= 0", name="counts"),
)
Index(
    "ix_task_queued",
    task.c.priority.desc(),
    task.c.id,
    sqlite_where=text("state = 'queued'"),
    postgresql_where=text("state = 'queued'"),
)
Index(
    "ix_task_leased",
    task.c.lease_until,
    sqlite_where=text("state = 'leased'"),
    postgresql_where=text("state = 'leased'"),
)

observation = Table(
    "observation",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("task_key", Text, ForeignKey("task.key"), nullable=False, index=True),
    Column("scan", Text, nullable=False),
    Column("specimen", Text, nullable=False, index=True),
    Column("run", Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", Text, nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("error", Text),
    Column("document", Text, nullable=False),
)
"""What was seen in one attempt at a scan; a retried scan has several, of which the last one counts."""

scan_result = Table(
    "scan_result",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("task_key", Text, ForeignKey("task.key"), nullable=False, unique=True),
    Column("observation", _Id, ForeignKey("observation.id"), nullable=False, unique=True),
    Column("specimen", Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("scan", Text, nullable=False, index=True),
    Column("run", Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("software", Text, nullable=False),
    Column("logits", LargeBinary, nullable=False),
    Column("temperature", Float(53)),
    Column("posterior", Text),
    Column("quality", Text),
    Column("info", Text),
    Column("findings", Text, nullable=False),
    Column("artefacts", Text, nullable=False),
    Column("n_tiles", Integer, nullable=False),
    Column("n_unreadable", Integer, nullable=False),
    CheckConstraint("n_tiles >= 0 AND n_unreadable >= 0 AND n_unreadable <= n_tiles", name="tiles"),
    CheckConstraint("(posterior IS NULL) = (temperature IS NULL)", name="temperature"),
    CheckConstraint("length(logits) % 8 = 0", name="logits"),
)
"""What one finished task answered. `logits` is (passes,) float64, little-endian."""

decision = Table(
    "decision",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("specimen", Text, ForeignKey("specimen.specimen"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("run", Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", Text, nullable=False, index=True),
    Column("verdict", Text, nullable=False),
    Column("disposition", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("specimen", "version"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("verdict IN ('negative', 'positive', 'undetermined')", name="verdict"),
    CheckConstraint("disposition IN ('silent', 'for_review', 'reported')", name="disposition"),
)

pseudonym = Table(
    "pseudonym",
    metadata,
    Column("pseudonym", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("counter", Integer, nullable=False),
    UniqueConstraint("kind", "identifier"),
    CheckConstraint("kind IN ('specimen', 'case', 'scan')", name="kind"),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("prev", LargeBinary, nullable=False, unique=True),
    Column("leaf", LargeBinary, nullable=False, unique=True),
    Column("payload", LargeBinary, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
    CheckConstraint("length(prev) = 32 AND length(leaf) = 32", name="hashes"),
)

SEALED = (site, run, specimen, scan, observation, scan_result, decision)
"""Tables whose rows the audit trail holds a seal of: an edit, insertion or deletion past the software shows."""
