"""What the queue holds: its tasks one by one, and in numbers."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from pellucid.records.clock import database_now, read_clock
from pellucid.records.database import read_by_keys
from pellucid.records.rows import QUEUED, STAT_RANK, task_of
from pellucid.records.tables import pause as pauses
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import Pause, QueueSummary, Task, TaskState


def read_tasks(
    connection: Connection,
    *,
    keys: Collection[str] | None,
    specimen: str | None,
    state: TaskState | None,
    lane: str | None,
    limit: int | None,
) -> list[Task]:
    """Tasks in the order of their creation, the first `limit` of them."""
    query = select(tasks)
    if specimen is not None:
        query = query.where(tasks.c.specimen == specimen)
    if state is not None:
        query = query.where(tasks.c.state == state.value)
    if lane is not None:
        query = query.where(tasks.c.lane == lane)
    if limit is not None:
        query = query.order_by(tasks.c.id).limit(limit)
    rows = read_by_keys(connection, query, tasks.c.key, keys)
    return [task_of(row) for row in sorted(rows, key=lambda row: row["id"])[:limit]]


def count_states(connection: Connection, *, lane: str | None) -> dict[TaskState, int]:
    """How many tasks are in each state; every state has a number."""
    lanes = _count_lanes(connection, lane)
    return {state: sum(counts[state] for counts in lanes.values()) for state in TaskState}


def summarise(connection: Connection, *, lane: str | None) -> QueueSummary:
    """The queue, or one lane of it, in numbers."""
    lanes = _count_lanes(connection, lane)
    queued = select(func.count(), func.min(tasks.c.waiting_since)).where(QUEUED)
    if lane is not None:
        queued = queued.where(tasks.c.lane == lane)
    now = read_clock(connection)
    in_backoff, _ = connection.execute(queued.where(tasks.c.not_before > database_now())).one()
    oldest = connection.execute(queued.where(tasks.c.rank < STAT_RANK / 2)).one()[1]
    oldest_stat = connection.execute(queued.where(tasks.c.rank >= STAT_RANK / 2)).one()[1]
    return QueueSummary(
        counts={state: sum(counts[state] for counts in lanes.values()) for state in TaskState},
        lanes=lanes,
        in_backoff=in_backoff,
        oldest_waiting_s=0.0 if oldest is None else max(0.0, now - oldest),
        oldest_stat_s=0.0 if oldest_stat is None else max(0.0, now - oldest_stat),
        pauses=tuple(item for item in read_pauses(connection) if lane is None or item.lane in {None, lane}),
    )


def read_pauses(connection: Connection) -> list[Pause]:
    """The pauses that stand, oldest first."""
    rows = connection.execute(select(pauses).where(pauses.c.resumed_at.is_(None)).order_by(pauses.c.id))
    return [Pause(lane=row.lane, reason=row.reason, actor=row.actor, paused_at=row.paused_at) for row in rows]


def _count_lanes(connection: Connection, lane: str | None) -> dict[str, dict[TaskState, int]]:
    query = select(tasks.c.lane, tasks.c.state, func.count().label("number")).group_by(tasks.c.lane, tasks.c.state)
    if lane is not None:
        query = query.where(tasks.c.lane == lane)
    lanes: dict[str, dict[TaskState, int]] = {} if lane is None else {lane: dict.fromkeys(TaskState, 0)}
    for row in connection.execute(query).mappings():
        lanes.setdefault(row["lane"], dict.fromkeys(TaskState, 0))[TaskState(row["state"])] = row["number"]
    return dict(sorted(lanes.items()))
