"""The task table as a queue: each key is worked on by one process at a time and finished once."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Select, Update, case, or_, select, tuple_, update

from pellucid.core.clock import utc_now
from pellucid.records.clock import database_now
from pellucid.records.errors import LeaseLost
from pellucid.records.rows import LEASED, QUEUED, STAT_RANK, UNOWNED, claimed_task
from pellucid.records.tables import pause
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import STAT_PRIORITY, ClaimedTask, TaskState
from pellucid.records.values import storable

DEATHS_BEFORE_ALONE = 3
"""So many owners that died with a task make it one to be worked on with nothing beside it."""

_LEASES_AT_ONCE = 5000


def candidates(connection: Connection, *, lane: str | None, min_priority: int | None) -> Select[tuple[int]] | None:
    """The number of the next task that may be claimed now; None where the queue, or the lane, is paused."""
    paused = set(connection.execute(select(pause.c.lane).where(pause.c.resumed_at.is_(None))).scalars())
    if None in paused or (lane is not None and lane in paused):
        return None
    query = select(tasks.c.id).where(QUEUED, or_(tasks.c.not_before.is_(None), tasks.c.not_before <= database_now()))
    if lane is not None:
        query = query.where(tasks.c.lane == lane)
    elif paused:
        query = query.where(tasks.c.lane.not_in(sorted(name for name in paused if name is not None)))
    if min_priority is not None:
        query = query.where(tasks.c.priority >= min_priority)
        if min_priority >= STAT_PRIORITY:  # found by the index, where a priority is not
            query = query.where(tasks.c.rank >= STAT_RANK / 2)
    return query.order_by(tasks.c.rank.desc(), tasks.c.id).limit(1)


def claim(
    connection: Connection, owner: str, *, lease_s: float, lane: str | None, min_priority: int | None
) -> ClaimedTask | None:
    """Take the task whose turn it is; None where there is none that nobody else is about to take."""
    candidate = candidates(connection, lane=lane, min_priority=min_priority)
    if candidate is None:
        return None
    statement = (
        update(tasks)
        .where(tasks.c.id == candidate.with_for_update(skip_locked=True).scalar_subquery())
        .values(
            state=TaskState.LEASED.value,
            owner=owner,
            lease_until=database_now() + lease_s,
            token=tasks.c.token + 1,
            # Counted when work begins, so that an attempt that kills its process counts.
            attempts=tasks.c.attempts + 1,
            alone=or_(tasks.c.deaths >= DEATHS_BEFORE_ALONE, tasks.c.kills > 0),
            not_before=None,
        )
        .returning(*tasks.c)
    )
    row = connection.execute(statement).mappings().first()
    return None if row is None else claimed_task(row, owner)


def is_claimable(connection: Connection, *, lane: str | None, min_priority: int | None) -> bool:
    """Whether a task could be claimed, were it not that another process has its hand on it."""
    candidate = candidates(connection, lane=lane, min_priority=min_priority)
    return candidate is not None and connection.execute(candidate).first() is not None


def extend_all(
    connection: Connection, held: Sequence[ClaimedTask], *, lease_s: float, progressed: Collection[str]
) -> set[str]:
    """Prolong the leases from now on; the keys of those that were lost. Deaths of what progressed are forgiven."""
    deaths = case((tasks.c.key.in_(sorted(progressed)), 0), else_=tasks.c.deaths) if progressed else tasks.c.deaths
    kept: set[str] = set()
    for start in range(0, len(held), _LEASES_AT_ONCE):
        fences = [(task.id, task.token) for task in held[start : start + _LEASES_AT_ONCE]]
        statement = update(tasks).where(LEASED, tuple_(tasks.c.id, tasks.c.token).in_(fences))
        values = {"lease_until": database_now() + lease_s, "deaths": deaths}
        kept |= set(connection.execute(statement.values(values).returning(tasks.c.key)).scalars())
    return {task.key for task in held} - kept


def release(connection: Connection, task: ClaimedTask) -> bool:
    """Put the task back as if it had not been claimed; False where the lease was lost."""
    values = {"state": TaskState.QUEUED.value, "attempts": tasks.c.attempts - 1, **UNOWNED}
    return connection.execute(_held(task).values(values)).rowcount == 1


def retry_later(connection: Connection, task: ClaimedTask, *, cause: str, delay_s: float) -> bool:
    """Put the task back for an attempt after `delay_s` seconds; False where the lease was lost."""
    values = {"state": TaskState.QUEUED.value, "cause": storable(cause), **UNOWNED}
    statement = _held(task).values(values | {"not_before": database_now() + delay_s})
    return connection.execute(statement).rowcount == 1


def blame(connection: Connection, task: ClaimedTask, cause: str) -> int:
    """Note that a process died while it worked on this task alone; how many did.

    Raises:
        LeaseLost: another worker has it, or it is finished.
    """
    statement = _held(task).values(kills=tasks.c.kills + 1, cause=storable(cause)).returning(tasks.c.kills)
    kills = connection.execute(statement).scalar()
    if kills is None:
        raise _lost(task)
    return int(kills)


def finish(
    connection: Connection, task: ClaimedTask, state: TaskState, *, code: str | None = None, message: str | None = None
) -> bool:
    """End the task as done, failed or quarantined, the latter two with a code.

    Returns:
        False where this very claim had ended it so before: whoever lost the answer may ask again.

    Raises:
        LeaseLost: another worker has it, or it ended otherwise.
    """
    values = {
        "state": state.value,
        "error_code": code,
        "error_message": None if message is None else storable(message),
        "finished_at": utc_now(),
        **UNOWNED,
    }
    if code is not None:
        values["cause"] = values["error_message"]
    if connection.execute(_held(task).values(values)).rowcount == 1:
        return True
    same = (tasks.c.id == task.id) & (tasks.c.token == task.token) & (tasks.c.state == state.value)
    ended = connection.execute(select(tasks.c.error_code).where(same)).first()
    if ended is None or ended.error_code != code:
        raise _lost(task)
    return False


def _held(task: ClaimedTask) -> Update:
    return update(tasks).where(tasks.c.id == task.id, tasks.c.token == task.token, LEASED)


def _lost(task: ClaimedTask) -> LeaseLost:
    return LeaseLost(f"The lease on task {task.key[:12]} (token {task.token}) is lost.")
