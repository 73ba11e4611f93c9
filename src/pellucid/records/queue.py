"""The task table as a queue: each key is worked on by one process at a time and finished once."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Update, func, literal, or_, select, update

from pellucid.core.clock import utc_now
from pellucid.records.database import database_now, key_conditions, read_by_keys
from pellucid.records.errors import LeaseLost, WorkerDied
from pellucid.records.owners import is_dead
from pellucid.records.tables import task as tasks
from pellucid.records.types import ClaimedTask, EnqueueResult, NewTask, Task, TaskState
from pellucid.records.values import from_text, to_text

# The state stands in the statement itself: a partial index isn't used where it is a parameter.
_QUEUED = tasks.c.state == literal(TaskState.QUEUED.value, literal_execute=True)
_LEASED = tasks.c.state == literal(TaskState.LEASED.value, literal_execute=True)
_FREE: dict[str, Any] = {"owner": None, "lease_until": None}
_AGAIN: dict[str, Any] = {
    "state": TaskState.QUEUED.value,
    "attempts": 0,
    "error_code": None,
    "error_message": None,
    "finished_at": None,
    **_FREE,
}


def enqueue(
    connection: Connection, new: Sequence[NewTask], *, run_id: str | None, retry_failed: bool
) -> tuple[EnqueueResult, list[Task]]:
    """Add what is new, refresh what waits and leave alone what is done; also tells which tasks were given up."""
    freed, given_up = reclaim(connection)
    outcome: dict[str, list[str]] = {"new": [], "known_done": [], "waiting": [], "failed": [], "requeued": []}
    for item in {item.key: item for item in new}.values():
        row = connection.execute(select(tasks.c.state).where(tasks.c.key == item.key)).first()
        state = None if row is None else TaskState(row.state)
        outcome[_enqueue_one(connection, item, state, run_id, retry_failed, freed)].append(item.key)
    return EnqueueResult(**{name: tuple(keys) for name, keys in outcome.items()}), given_up


def _enqueue_one(
    connection: Connection, item: NewTask, state: TaskState | None, run_id: str | None, again: bool, freed: set[str]
) -> str:
    values = {
        "kind": item.kind,
        "lane": item.lane,
        "specimen": item.specimen,
        "scan_digest": item.scan_digest,
        "payload": to_text(dict(item.payload), what="task's payload"),
        "priority": item.priority,
        "max_attempts": item.max_attempts,
        "run": run_id,
    }
    this = update(tasks).where(tasks.c.key == item.key)
    match state:
        case None:
            connection.execute(
                tasks.insert().values(
                    key=item.key, state=TaskState.QUEUED.value, attempts=0, token=0, enqueued_at=utc_now(), **values
                )
            )
            return "new"
        case TaskState.DONE:
            return "known_done"
        case TaskState.LEASED:
            return "waiting"
        case TaskState.QUEUED:
            # The file may lie elsewhere than when the task was first added.
            connection.execute(this.values(**values))
            return "requeued" if item.key in freed else "waiting"
        case TaskState.FAILED if again:
            connection.execute(this.values(**values, **_AGAIN))
            return "requeued"
        case TaskState.FAILED:
            connection.execute(this.values(**values))
            return "failed"


def claim(connection: Connection, owner: str, *, lease_s: float, lane: str | None) -> ClaimedTask | None:
    """Take the queued task of highest priority, the oldest among equals; None where none is queued."""
    candidate = select(tasks.c.id).where(_QUEUED)
    if lane is not None:
        candidate = candidate.where(tasks.c.lane == lane)
    candidate = candidate.order_by(tasks.c.priority.desc(), tasks.c.id).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(tasks)
        .where(tasks.c.id == candidate.scalar_subquery())
        .values(
            state=TaskState.LEASED.value,
            owner=owner,
            lease_until=database_now() + lease_s,
            token=tasks.c.token + 1,
            # Counted when work begins, so that an attempt that kills its process counts.
            attempts=tasks.c.attempts + 1,
        )
        .returning(*tasks.c)
    )
    row = connection.execute(statement).mappings().first()
    return None if row is None else _claimed(row, owner)


def reclaim(connection: Connection) -> tuple[set[str], list[Task]]:
    """Take back expired leases and those of dead processes of this machine.

    Returns:
        The keys that are queued again, and the tasks that failed because no attempt is left.
    """
    owners = connection.execute(select(tasks.c.owner).where(_LEASED).distinct())
    dead = [owner for owner in owners.scalars() if is_dead(owner)]
    lost = _LEASED & or_(tasks.c.lease_until < database_now(), tasks.c.owner.in_(dead))
    exhausted = tasks.c.attempts >= tasks.c.max_attempts
    failing = (
        update(tasks)
        .where(lost, exhausted)
        .values(
            state=TaskState.FAILED.value,
            error_code=WorkerDied.code,
            error_message="The worker died or hung at each attempt.",
            finished_at=utc_now(),
            **_FREE,
        )
        .returning(*tasks.c)
    )
    given_up = [_task(row) for row in connection.execute(failing).mappings()]
    freeing = update(tasks).where(lost).values(state=TaskState.QUEUED.value, **_FREE).returning(tasks.c.key)
    return set(connection.execute(freeing).scalars()), given_up


def extend(connection: Connection, task: ClaimedTask, lease_s: float) -> bool:
    """Prolong the lease from now on; False where it was lost."""
    return connection.execute(_held(task).values(lease_until=database_now() + lease_s)).rowcount == 1


def release(connection: Connection, task: ClaimedTask) -> bool:
    """Put the task back as if it had not been claimed; False where the lease was lost."""
    values = {"state": TaskState.QUEUED.value, "attempts": tasks.c.attempts - 1, **_FREE}
    return connection.execute(_held(task).values(values)).rowcount == 1


def finish(connection: Connection, task: ClaimedTask, *, code: str | None = None, message: str | None = None) -> None:
    """Mark the task done, or failed where there is a code.

    Raises:
        LeaseLost: another worker has it, or it is finished.
    """
    state = TaskState.DONE if code is None else TaskState.FAILED
    values = {"state": state.value, "error_code": code, "error_message": message, "finished_at": utc_now(), **_FREE}
    if connection.execute(_held(task).values(values)).rowcount != 1:
        raise LeaseLost(f"The lease on task {task.key[:12]} (token {task.token}) is lost.")


def retry_failed(
    connection: Connection, *, keys: Collection[str] | None, of_run: str | None, run_id: str | None
) -> list[str]:
    """Queue failed tasks again, their attempts counted anew: those named, those of a run, or all."""
    statement = update(tasks).where(tasks.c.state == TaskState.FAILED.value)
    if of_run is not None:
        statement = statement.where(tasks.c.run == of_run)
    values = _AGAIN if run_id is None else _AGAIN | {"run": run_id}
    again: list[str] = []
    for condition in key_conditions(tasks.c.key, keys):
        queued = connection.execute(statement.where(condition).values(values).returning(tasks.c.key))
        again += queued.scalars()
    return again


def count_states(connection: Connection, *, lane: str | None) -> dict[TaskState, int]:
    """How many tasks are in each state; every state has a number."""
    query = select(tasks.c.state, func.count().label("number")).group_by(tasks.c.state)
    if lane is not None:
        query = query.where(tasks.c.lane == lane)
    counts = {row["state"]: row["number"] for row in connection.execute(query).mappings()}
    return {state: counts.get(state.value, 0) for state in TaskState}


def read_tasks(
    connection: Connection, *, keys: Collection[str] | None, specimen: str | None, state: TaskState | None
) -> list[Task]:
    """Tasks in the order of their creation."""
    query = select(tasks)
    if specimen is not None:
        query = query.where(tasks.c.specimen == specimen)
    if state is not None:
        query = query.where(tasks.c.state == state.value)
    rows = read_by_keys(connection, query, tasks.c.key, keys)
    return [_task(row) for row in sorted(rows, key=lambda row: row["id"])]


def _held(task: ClaimedTask) -> Update:
    return update(tasks).where(tasks.c.id == task.id, tasks.c.token == task.token, _LEASED)


def _claimed(row: RowMapping, owner: str) -> ClaimedTask:
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
    )


def _task(row: RowMapping) -> Task:
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
        run=row["run"],
        error_code=row["error_code"],
        error_message=row["error_message"],
    )
