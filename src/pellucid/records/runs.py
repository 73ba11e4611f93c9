"""Runs: one row for each start of the main job."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_bytes
from pellucid.domain.decision import Versions
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.errors import RunUnknown
from pellucid.records.owners import is_dead, process_owner
from pellucid.records.tables import run as runs
from pellucid.records.types import Action, Run, RunState
from pellucid.records.values import from_text, to_text


def start(
    connection: Connection,
    trail: AuditTrail,
    *,
    run_id: str,
    purpose: str,
    versions: Versions,
    settings: Mapping[str, Any],
    command: str,
) -> None:
    """Record that a run starts; runs whose process died are recorded as interrupted.

    Raises:
        RunUnknown: the identifier is taken.
    """
    if _row_id(connection, run_id) is not None:
        raise RunUnknown(f"Run {run_id} was started before.")
    _close_dead(connection, trail)
    settings_text = to_text(dict(settings), what="run's settings")
    values = {
        "run_id": run_id,
        "purpose": purpose,
        "state": RunState.RUNNING.value,
        "owner": process_owner(),
        "model": versions.model,
        "policy": versions.policy,
        "software": versions.software,
        "software_version": versions.software_version,
        "settings": settings_text,
        "command": command,
        "started_at": utc_now(),
    }
    row_id = connection.execute(runs.insert().values(values).returning(runs.c.id)).scalar_one()
    details = {"purpose": purpose, "settings": digest_bytes(settings_text.encode())}
    subject = Subject("run", run_id)
    trail.append(connection, Action.RUN_START, subject, rows=[(runs, row_id)], details=details, run_id=run_id)


def finish(connection: Connection, trail: AuditTrail, run_id: str, state: RunState, summary: Mapping[str, Any]) -> None:
    """Record how a run ended.

    Raises:
        RunUnknown: no such run is running.
    """
    text = to_text(dict(summary), what="run's summary")
    statement = update(runs).where(runs.c.run_id == run_id, runs.c.state == RunState.RUNNING.value)
    values = {"state": state.value, "summary": text, "finished_at": utc_now()}
    row_id = connection.execute(statement.values(values).returning(runs.c.id)).scalar()
    if row_id is None:
        raise RunUnknown(f"Run {run_id} is not running.", remedy="Start the run first; a finished run stays as it is.")
    details = {"state": state.value, "summary": digest_bytes(text.encode())}
    subject = Subject("run", run_id)
    trail.append(connection, Action.RUN_FINISH, subject, rows=[(runs, row_id)], details=details, run_id=run_id)


def read(connection: Connection) -> list[Run]:
    """All runs in the order of their start."""
    return [_run(row) for row in connection.execute(select(runs).order_by(runs.c.id)).mappings()]


def require(connection: Connection, run_id: str) -> None:
    """Check that a run was started.

    Raises:
        RunUnknown: it was not.
    """
    if _row_id(connection, run_id) is None:
        raise RunUnknown(f"Run {run_id} was never started in these records.")


def _row_id(connection: Connection, run_id: str) -> int | None:
    return connection.execute(select(runs.c.id).where(runs.c.run_id == run_id)).scalar()


def _close_dead(connection: Connection, trail: AuditTrail) -> None:
    running = select(runs.c.run_id, runs.c.owner).where(runs.c.state == RunState.RUNNING.value)
    for row in connection.execute(running).all():
        if is_dead(row.owner):
            finish(connection, trail, row.run_id, RunState.INTERRUPTED, {})


def _run(row: RowMapping) -> Run:
    return Run(
        run_id=row["run_id"],
        purpose=row["purpose"],
        state=RunState(row["state"]),
        versions=Versions(
            model=row["model"],
            policy=row["policy"],
            software=row["software"],
            software_version=row["software_version"],
        ),
        settings=from_text(row["settings"]),
        command=row["command"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        summary=None if row["summary"] is None else from_text(row["summary"]),
    )
