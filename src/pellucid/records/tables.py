"""The tables. What is written here and what the migrations build are the same; a test compares them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
# Texts are keys, digests and times: compared byte by byte, as SQLite does, whatever language a server sorts in.
_Text = Text().with_variant(Text(collation="C"), "postgresql")

site = Table(
    "site",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uuid", _Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("created_at", _Text, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""One row: who these records belong to, and the salt of their pseudonyms."""

run = Table(
    "run",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", _Text, nullable=False, unique=True),
    Column("purpose", _Text, nullable=False),
    Column("state", _Text, nullable=False),
    Column("owner", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("policy", _Text, nullable=False),
    Column("software", _Text, nullable=False),
    Column("software_version", _Text, nullable=False),
    Column("settings", _Text, nullable=False),
    Column("command", _Text, nullable=False),
    Column("started_at", _Text, nullable=False),
    Column("finished_at", _Text),
    Column("summary", _Text),
    CheckConstraint("state IN ('running', 'completed', 'failed', 'interrupted')", name="state"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
)

specimen = Table(
    "specimen",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("specimen", _Text, nullable=False, unique=True),
    Column("case_name", _Text, nullable=False, index=True),
    Column("patient", _Text, nullable=False, index=True),
    Column("strata", _Text, nullable=False),
    Column("expected", _Text, nullable=False),
    Column("registered_at", _Text, nullable=False),
    Column("n_expected", Integer),
    Column("n_missing", Integer),
    Column("wait_from", Float(53)),
    Column("deadline", Float(53)),
)
"""`n_missing` follows from `n_expected` and `expected`, for its index. Where a column that a migration added is NULL,
the seals of earlier rows hold."""
_MISSING = text("n_missing > 0")
Index("ix_specimen_missing", specimen.c.id, sqlite_where=_MISSING, postgresql_where=_MISSING)

scan = Table(
    "scan",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("digest", _Text, nullable=False),
    Column("specimen", _Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("block", _Text, nullable=False),
    Column("slide", _Text, nullable=False),
    Column("path", _Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("n_files", Integer, nullable=False),
    Column("registered_at", _Text, nullable=False),
    Column("withdrawn_at", _Text),
    UniqueConstraint("digest", "specimen"),
    CheckConstraint("length(digest) = 64", name="digest"),
    CheckConstraint("size_bytes >= 0 AND n_files >= 1", name="size"),
)
"""One row for each specimen a scan is filed under; one digest under two cases is an identity conflict."""

task = Table(
    "task",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", _Text, nullable=False, unique=True),
    Column("kind", _Text, nullable=False),
    Column("lane", _Text, nullable=False),
    Column("specimen", _Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("scan_digest", _Text),
    Column("payload", _Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", _Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("owner", _Text),
    Column("lease_until", Float(53)),
    Column("run", _Text, ForeignKey("run.run_id"), index=True),
    Column("error_code", _Text),
    Column("error_message", _Text),
    Column("enqueued_at", _Text, nullable=False),
    Column("finished_at", _Text),
    Column("waiting_since", Float(53), nullable=False),
    Column("rank", Float(53), nullable=False),
    Column("not_before", Float(53)),
    Column("deaths", Integer, nullable=False),
    Column("kills", Integer, nullable=False),
    Column("alone", Boolean, nullable=False),
    Column("cause", _Text),
    CheckConstraint("state IN ('queued', 'leased', 'done', 'failed', 'quarantined')", name="state"),
    CheckConstraint("(state = 'leased') = (owner IS NOT NULL)", name="owner"),
    CheckConstraint("(state = 'leased') = (lease_until IS NOT NULL)", name="lease"),
    CheckConstraint("(state IN ('failed', 'quarantined')) = (error_code IS NOT NULL)", name="error"),
    CheckConstraint("attempts >= 0 AND max_attempts >= 1 AND token >= 0", name="counts"),
    CheckConstraint("deaths >= 0 AND kills >= 0", name="deaths"),
)
_QUEUED, _LEASED = text("state = 'queued'"), text("state = 'leased'")
Index("ix_task_queued", task.c.rank.desc(), task.c.id, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
Index("ix_task_lane", task.c.lane, task.c.rank.desc(), task.c.id, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
Index("ix_task_leased", task.c.lease_until, sqlite_where=_LEASED, postgresql_where=_LEASED)
Index("ix_task_state", task.c.lane, task.c.state)
Index("ix_task_owner", task.c.owner, sqlite_where=_LEASED, postgresql_where=_LEASED)

pause = Table(
    "pause",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("lane", _Text),
    Column("reason", _Text, nullable=False),
    Column("actor", _Text, nullable=False),
    Column("paused_at", _Text, nullable=False),
    Column("resumed_at", _Text),
    Column("resumed_by", _Text),
    CheckConstraint("(resumed_at IS NULL) = (resumed_by IS NULL)", name="resumed"),
)
"""Who stopped a lane, or with no lane the whole queue, and until when; the rows stay."""

known_file = Table(
    "known_file",
    metadata,
    Column("place", _Text, primary_key=True),
    Column("fingerprint", _Text, nullable=False),
    Column("digest", _Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("n_files", Integer, nullable=False),
    Column("at", _Text, nullable=False),
    CheckConstraint("length(digest) = 64", name="digest"),
)
"""What a file's bytes were when they were last hashed. `place` is the digest of its path: a path can be too long for
an index."""

observation = Table(
    "observation",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("task_key", _Text, ForeignKey("task.key"), nullable=False, index=True),
    Column("scan", _Text, nullable=False),
    Column("specimen", _Text, nullable=False, index=True),
    Column("run", _Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", _Text, nullable=False, index=True),
    Column("purpose", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("error", _Text),
    Column("document", _Text, nullable=False),
)
"""What was seen in one attempt at a scan; a retried scan has several, of which the last one counts."""

scan_result = Table(
    "scan_result",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("task_key", _Text, ForeignKey("task.key"), nullable=False, unique=True),
    Column("observation", _Id, ForeignKey("observation.id"), nullable=False, unique=True),
    Column("specimen", _Text, ForeignKey("specimen.specimen"), nullable=False, index=True),
    Column("scan", _Text, nullable=False, index=True),
    Column("run", _Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("policy", _Text, nullable=False),
    Column("software", _Text, nullable=False),
    Column("logits", LargeBinary, nullable=False),
    Column("temperature", Float(53)),
    Column("posterior", _Text),
    Column("quality", _Text),
    Column("info", _Text),
    Column("findings", _Text, nullable=False),
    Column("artefacts", _Text, nullable=False),
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
    Column("specimen", _Text, ForeignKey("specimen.specimen"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("run", _Text, ForeignKey("run.run_id"), nullable=False, index=True),
    Column("at", _Text, nullable=False, index=True),
    Column("verdict", _Text, nullable=False),
    Column("disposition", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("policy", _Text, nullable=False),
    Column("digest", _Text, nullable=False),
    Column("document", _Text, nullable=False),
    UniqueConstraint("specimen", "version"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("verdict IN ('negative', 'positive', 'undetermined')", name="verdict"),
    CheckConstraint("disposition IN ('silent', 'for_review', 'reported')", name="disposition"),
)

pseudonym = Table(
    "pseudonym",
    metadata,
    Column("pseudonym", _Text, primary_key=True),
    Column("kind", _Text, nullable=False),
    Column("identifier", _Text, nullable=False),
    Column("counter", Integer, nullable=False),
    UniqueConstraint("kind", "identifier"),
    CheckConstraint("kind IN ('specimen', 'case', 'scan')", name="kind"),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("seq", _Id, primary_key=True, autoincrement=False),
    Column("prev", LargeBinary, nullable=False, unique=True),
    Column("leaf", LargeBinary, nullable=False, unique=True),
    Column("payload", LargeBinary, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
    CheckConstraint("length(prev) = 32 AND length(leaf) = 32", name="hashes"),
)

SEALED = (site, run, specimen, scan, observation, scan_result, decision, pause)
"""Tables whose rows the audit trail holds a seal of: an edit, insertion or deletion past the software shows."""
