"""Leases whose owner died or fell silent are taken back, and each such death is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, or_, select, text, update

from pellucid.core.clock import utc_now
from pellucid.records.clock import database_now
from pellucid.records.errors import WorkerDied
from pellucid.records.owners import is_dead, range_here
from pellucid.records.rows import LEASED, UNOWNED, task_of
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import Task, TaskState

# One step through the index for each owner, however many tasks each holds.
_OWNERS_HERE = text("""
WITH RECURSIVE found(owner) AS (
  SELECT min(owner) FROM task WHERE state = 'leased' AND owner >= :first AND owner < :beyond
  UNION ALL
  SELECT (SELECT min(task.owner) FROM task
          WHERE state = 'leased' AND task.owner > found.owner AND task.owner < :beyond)
  FROM found WHERE found.owner IS NOT NULL
)
SELECT owner FROM found WHERE owner IS NOT NULL
""")
_DIED = "The process that had it ended."
_SILENT = "The process that had it died elsewhere, hung or was cut off: its lease ran out."
_DEADLY = "Each process that worked on it alone died or hung."

_MAY_NOT_KILL_AGAIN = and_(tasks.c.alone, tasks.c.kills + 1 >= tasks.c.max_attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """Keys that are queued again, and the number of tasks that are to be quarantined instead."""

    freed: set[str]
    n_deadly: int


def reclaim(connection: Connection) -> Reclaimed:
    """Queue again what dead or silent owners held, all but what killed too often; see `quarantine_deadly`.

    An owner's death says little about one of its tasks: it may hold several, or have been ended by a person. It
    counts as a kill only where it worked on this task alone.
    """
    dead = _dead_owners(connection)
    lost = connection.execute(
        # Who else reclaims at this moment has these rows; waiting for them could end in a deadlock.
        select(tasks.c.id, _MAY_NOT_KILL_AGAIN.label("deadly")).where(_lost(dead)).with_for_update(skip_locked=True)
    ).all()
    harmless = [row.id for row in lost if not row.deadly]
    if not harmless:
        return Reclaimed(freed=set(), n_deadly=len(lost))
    statement = (
        update(tasks)
        .where(tasks.c.id.in_(harmless))
        .values(
            state=TaskState.QUEUED.value,
            deaths=tasks.c.deaths + 1,
            kills=tasks.c.kills + case((tasks.c.alone, 1), else_=0),
            cause=case((tasks.c.owner.in_(dead), _DIED), else_=_SILENT),
            **UNOWNED,
        )
        .returning(tasks.c.key)
    )
    freed = set(connection.execute(statement).scalars())
    return Reclaimed(freed=freed, n_deadly=len(lost) - len(harmless))


def quarantine_deadly(connection: Connection) -> list[Task]:
    """Quarantine the lost tasks that killed their workers too often; to be audited in the same transaction."""
    deadly = _lost(_dead_owners(connection)) & _MAY_NOT_KILL_AGAIN
    ids = connection.execute(select(tasks.c.id).where(deadly).with_for_update(skip_locked=True)).scalars().all()
    if not ids:
        return []
    statement = (
        update(tasks)
        .where(tasks.c.id.in_(ids))
        .values(
            state=TaskState.QUARANTINED.value,
            deaths=tasks.c.deaths + 1,
            kills=tasks.c.kills + 1,
            error_code=WorkerDied.code,
            error_message=_DEADLY,
            cause=_DEADLY,
            finished_at=utc_now(),
            **UNOWNED,
        )
        .returning(*tasks.c)
    )
    return [task_of(row) for row in _ordered(connection.execute(statement).mappings().all())]


def _ordered(rows: Sequence[RowMapping]) -> list[RowMapping]:
    return sorted(rows, key=lambda row: row["id"])


def _dead_owners(connection: Connection) -> list[str]:
    first, beyond = range_here()
    owners = connection.execute(_OWNERS_HERE, {"first": first, "beyond": beyond}).scalars()
    return [owner for owner in owners if is_dead(owner)]


def _lost(dead: Sequence[str]) -> ColumnElement[bool]:
    expired = LEASED & (tasks.c.lease_until < database_now())
    return or_(expired, LEASED & tasks.c.owner.in_(dead)) if dead else expired
