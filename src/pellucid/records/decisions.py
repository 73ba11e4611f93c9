"""Decisions: versions of them, never one in another's place."""

from sqlalchemy import Connection, RowMapping, func, select

from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_bytes
from pellucid.core.serial import from_plain
from pellucid.domain.decision import Decision
from pellucid.records import runs, specimens
from pellucid.records.audit import AuditTrail
from pellucid.records.tables import decision as decisions
from pellucid.records.types import Action, RecordedDecision
from pellucid.records.values import from_text, to_text


def save(connection: Connection, trail: AuditTrail, decision: Decision, *, run_id: str) -> int:
    """Record a decision as the specimen's next version; one equal to its latest adds nothing.

    Returns:
        The version under which it stands.

    Raises:
        SpecimenUnknown: the specimen was never registered.
        RunUnknown: the run was never started.
        ValueUnrecordable: a number in it isn't finite.
    """
    runs.require(connection, run_id)
    specimens.require(connection, [decision.specimen])
    document = to_text(decision, what="decision")
    digest = digest_bytes(document.encode())
    latest = _latest(connection, decision.specimen)
    if latest is not None and latest["digest"] == digest:
        return int(latest["version"])
    version = 1 if latest is None else latest["version"] + 1
    values = {
        "specimen": decision.specimen,
        "version": version,
        "run": run_id,
        "at": utc_now(),
        "verdict": decision.verdict.value,
        "disposition": decision.disposition.value,
        "model": decision.versions.model,
        "policy": decision.versions.policy,
        "digest": digest,
        "document": document,
    }
    row_id = connection.execute(decisions.insert().values(values).returning(decisions.c.id)).scalar_one()
    posterior = decision.posterior
    details = {
        "version": version,
        "verdict": decision.verdict.value,
        "disposition": decision.disposition.value,
        "reasons": [reason.value for reason in decision.reasons],
        "probability": None if posterior is None else posterior.probability,
        "scans": list(decision.scans),
    }
    subject = trail.specimen(connection, decision.specimen)
    trail.append(connection, Action.DECIDE, subject, rows=[(decisions, row_id)], details=details, run_id=run_id)
    return int(version)


def read(
    connection: Connection, *, latest_only: bool, specimen: str | None, run_id: str | None
) -> list[RecordedDecision]:
    """Decisions in the order they were recorded; the latest of each specimen, or all versions."""
    query = select(decisions).order_by(decisions.c.id)
    if latest_only:
        query = query.where(decisions.c.id.in_(select(func.max(decisions.c.id)).group_by(decisions.c.specimen)))
    if specimen is not None:
        query = query.where(decisions.c.specimen == specimen)
    if run_id is not None:
        query = query.where(decisions.c.run == run_id)
    return [_recorded(row) for row in connection.execute(query).mappings()]


def _latest(connection: Connection, specimen: str) -> RowMapping | None:
    query = select(decisions.c.version, decisions.c.digest).where(decisions.c.specimen == specimen)
    return connection.execute(query.order_by(decisions.c.version.desc()).limit(1)).mappings().first()


def _recorded(row: RowMapping) -> RecordedDecision:
    return RecordedDecision(
        decision=from_plain(Decision, from_text(row["document"])),
        version=row["version"],
        run=row["run"],
        at=row["at"],
    )
