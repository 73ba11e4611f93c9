"""Rows of the task table as tasks, and the values that several steps of the queue set."""

from typing import Any

from sqlalchemy import ColumnElement, RowMapping, case, literal

from pellucid.records.clock import database_now
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import STAT_PRIORITY, ClaimedTask, Task, TaskState
from pellucid.records.values import from_text

# The state stands in the statement itself: a partial index isn't used where it is a parameter.
QUEUED = tasks.c.state == literal(TaskState.QUEUED.value, literal_execute=True)
LEASED = tasks.c.state == literal(TaskState.LEASED.value, literal_execute=True)

UNOWNED: dict[str, Any] = {"owner": None, "lease_until": None, "alone": False}
ANEW: dict[str, Any] = {
    "state": TaskState.QUEUED.value,
    "attempts": 0,
    "deaths": 0,
    "kills": 0,
    "cause": None,
    "not_before": None,
    "error_code": None,
    "error_message": None,
    "finished_at": None,
    "waiting_since": database_now(),
    **UNOWNED,
}
"""A task that is tried again as if it were new. Its rank is to be set with it."""

STAT_RANK = 1e12  # more than any priority below STAT and any waiting; seconds beside it keep a tenth of a millisecond
_SECONDS_A_STEP = 3600.0


def rank_of(priority: int, waiting_since: float) -> float:
    """Where a task stands in the queue: constant while it waits, because all others age as it does."""
    return priority * _SECONDS_A_STEP + (STAT_RANK if priority >= STAT_PRIORITY else 0.0) - waiting_since


def rank_in_sql(priority: int | None, waiting_since: ColumnElement[float]) -> ColumnElement[Any]:
    """`rank_of` in a statement; the row's own priority where none is given."""
    if priority is not None:
        return literal(rank_of(priority, 0.0)) - waiting_since
    stat = case((tasks.c.priority >= STAT_PRIORITY, STAT_RANK), else_=0.0)
    return tasks.c.priority * _SECONDS_A_STEP + stat - waiting_since


def claimed_task(row: RowMapping, owner: str) -> ClaimedTask:
    """The row of a task that `owner` holds."""
    return ClaimedTask(
        id=row["id"],
        key=row["key"],
        kind=row["kind"],
        lane=row["lane"],
        specimen=row["specimen"],
        scan_digest=row["scan_digest"],
        payload=from_text(row["payload"]),
        priority=row["priority"],
        attempts=row["attempts"],
        token=row["token"],
        owner=owner,
        run=row["run"],
        enqueued_at=row["enqueued_at"],
        max_attempts=row["max_attempts"],
        deaths=row["deaths"],
        kills=row["kills"],
        alone=row["alone"],
    )


def task_of(row: RowMapping) -> Task:
    """The row of a task as it stands."""
    return Task(
        key=row["key"],
        kind=row["kind"],
        lane=row["lane"],
        specimen=row["specimen"],
        scan_digest=row["scan_digest"],
        payload=from_text(row["payload"]),
        priority=row["priority"],
        state=TaskState(row["state"]),
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        run=row["run"],
        error_code=row["error_code"],
        error_message=row["error_message"],
        owner=row["owner"],
        lease_until=row["lease_until"],
        token=row["token"],
        deaths=row["deaths"],
        kills=row["kills"],
        alone=row["alone"],
        cause=row["cause"],
        not_before=row["not_before"],
        enqueued_at=row["enqueued_at"],
        finished_at=row["finished_at"],
    )
