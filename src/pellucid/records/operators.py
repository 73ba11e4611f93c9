"""What people do to the queue; each act is an audit event under their name, in the same transaction."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Update, select, update

from pellucid.core.clock import utc_now
from pellucid.records import runs
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.clock import database_now
from pellucid.records.database import key_conditions
from pellucid.records.errors import Quarantined
from pellucid.records.rows import ANEW, UNOWNED, rank_in_sql
from pellucid.records.tables import pause as pauses
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import TaskState
from pellucid.records.types import Action
from pellucid.records.values import storable

_OPEN = (TaskState.QUEUED.value, TaskState.LEASED.value)
_STOPPED = (TaskState.FAILED.value, TaskState.QUARANTINED.value)


def retry_failed(
    connection: Connection,
    trail: AuditTrail,
    *,
    keys: Collection[str] | None,
    of_run: str | None,
    run_id: str | None,
) -> int:
    """Queue failed tasks again, their attempts counted anew: those named, those of a run, or all; their number.

    Raises:
        RunUnknown: the run that asks was never started.
    """
    if run_id is not None:
        runs.require(connection, run_id)
    statement = update(tasks).where(tasks.c.state == TaskState.FAILED.value)
    if of_run is not None:
        statement = statement.where(tasks.c.run == of_run)
    values = ANEW | {"rank": rank_in_sql(None, database_now())}
    if run_id is not None:
        values["run"] = run_id
    again = _change(connection, statement.values(values), keys)
    for row in again:
        trail.append(connection, Action.TASK_RETRY, Subject("task", row["key"]), run_id=run_id)
    return len(again)


def requeue(
    connection: Connection, trail: AuditTrail, *, keys: Collection[str], actor: str, priority: int | None
) -> int:
    """Queue failed and quarantined tasks again as if new, and end the back-off of waiting ones; their number."""
    changed: dict[str, Any] = {} if priority is None else {"priority": priority}
    stopped = update(tasks).where(tasks.c.state.in_(_STOPPED))
    waiting = update(tasks).where(tasks.c.state == TaskState.QUEUED.value)
    kept = {name: value for name, value in ANEW.items() if name != "waiting_since"}
    again = [
        *_change(
            connection, waiting.values(kept | changed | {"rank": rank_in_sql(priority, tasks.c.waiting_since)}), keys
        ),
        *_change(connection, stopped.values(ANEW | changed | {"rank": rank_in_sql(priority, database_now())}), keys),
    ]
    for row in again:
        details = {"specimen": trail.specimen(connection, row["specimen"]).id, "priority": row["priority"]}
        trail.append(connection, Action.TASK_REQUEUE, Subject("task", row["key"]), details=details, actor=actor)
    return len(again)


def quarantine(connection: Connection, trail: AuditTrail, *, keys: Collection[str], actor: str, reason: str) -> int:
    """Take tasks that aren't done out of the queue, off their owners too; their number."""
    said = storable(reason)
    statement = (
        update(tasks)
        .where(tasks.c.state.in_((*_OPEN, TaskState.FAILED.value)))
        .values(
            state=TaskState.QUARANTINED.value,
            token=tasks.c.token + 1,  # its owner, if it has one, is fenced off
            error_code=Quarantined.code,
            error_message=said,
            cause=said,
            finished_at=utc_now(),
            **UNOWNED,
        )
    )
    taken = _change(connection, statement, keys)
    for row in taken:
        details = {"specimen": trail.specimen(connection, row["specimen"]).id, "code": Quarantined.code}
        trail.append(connection, Action.TASK_QUARANTINE, Subject("task", row["key"]), details=details, actor=actor)
    return len(taken)


def prioritise(connection: Connection, trail: AuditTrail, *, keys: Collection[str], priority: int, actor: str) -> int:
    """Give tasks that are not finished another priority; their number."""
    statement = (
        update(tasks)
        .where(tasks.c.state.in_(_OPEN), tasks.c.priority != priority)
        .values(priority=priority, rank=rank_in_sql(priority, tasks.c.waiting_since))
    )
    moved = _change(connection, statement, keys)
    for row in moved:
        details = {"specimen": trail.specimen(connection, row["specimen"]).id, "priority": priority}
        trail.append(connection, Action.TASK_PRIORITISE, Subject("task", row["key"]), details=details, actor=actor)
    return len(moved)


def pause(connection: Connection, trail: AuditTrail, *, lane: str | None, reason: str, actor: str) -> bool:
    """Stop a lane or the whole queue; False where it is paused already. The reason stays out of the audit trail."""
    if connection.execute(select(pauses.c.id).where(_standing(lane))).first() is not None:
        return False
    values = {"lane": lane, "reason": storable(reason), "actor": actor, "paused_at": utc_now()}
    row_id = connection.execute(pauses.insert().values(values).returning(pauses.c.id)).scalar_one()
    trail.append(connection, Action.QUEUE_PAUSE, _queue(lane), rows=[(pauses, row_id)], actor=actor)
    return True


def resume(connection: Connection, trail: AuditTrail, *, lane: str | None, actor: str) -> bool:
    """Let a lane or the whole queue go on; False where it was not paused."""
    statement = update(pauses).where(_standing(lane)).values(resumed_at=utc_now(), resumed_by=actor)
    row_id = connection.execute(statement.returning(pauses.c.id)).scalar()
    if row_id is None:
        return False
    trail.append(connection, Action.QUEUE_RESUME, _queue(lane), rows=[(pauses, row_id)], actor=actor)
    return True


def _standing(lane: str | None) -> Any:
    return pauses.c.resumed_at.is_(None) & (pauses.c.lane.is_(None) if lane is None else pauses.c.lane == lane)


def _queue(lane: str | None) -> Subject:
    return Subject("queue", "all") if lane is None else Subject("lane", lane)


def _change(connection: Connection, statement: Update, keys: Collection[str] | None) -> list[RowMapping]:
    """The changed rows, ordered by key so that the events are."""
    rows: Sequence[RowMapping] = [
        row
        for condition in key_conditions(tasks.c.key, keys)
        for row in connection.execute(
            statement.where(condition).returning(tasks.c.key, tasks.c.specimen, tasks.c.priority)
        ).mappings()
    ]
    return sorted(rows, key=lambda row: row["key"])
