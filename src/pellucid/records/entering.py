"""How tasks enter the queue: new ones are added, waiting ones refreshed, finished ones left as they are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from pellucid.core.clock import utc_now
from pellucid.records.clock import read_clock
from pellucid.records.database import read_by_keys
from pellucid.records.rows import ANEW, QUEUED, rank_of
from pellucid.records.tables import task as tasks
from pellucid.records.task_types import EnqueueResult, NewTask, TaskState
from pellucid.records.values import to_text

_COLUMNS = (tasks.c.key, tasks.c.state, tasks.c.priority, tasks.c.waiting_since)


def enqueue(
    connection: Connection, new: Sequence[NewTask], *, run_id: str | None, retry_failed: bool, freed: set[str]
) -> EnqueueResult:
    """Add what is new, refresh what waits and leave alone what is done; `freed` were just taken from dead owners."""
    items = {item.key: item for item in new}
    now = read_clock(connection)
    query = select(*_COLUMNS)
    known = {row["key"]: row for row in read_by_keys(connection, query, tasks.c.key, items.keys())}
    outcome: dict[str, list[str]] = {
        "new": [],
        "known_done": [],
        "waiting": [],
        "failed": [],
        "requeued": [],
        "quarantined": [],
    }
    added: list[dict[str, Any]] = []
    for item in items.values():
        values = _values(item, run_id)
        row = known.get(item.key)
        if row is None:
            added.append(_new_row(item, values, now))
            outcome["new"].append(item.key)
        else:
            outcome[_refresh(connection, row, values, now, retry_failed, freed)].append(item.key)
    if added:
        connection.execute(tasks.insert(), added)
    return EnqueueResult(**{name: tuple(keys) for name, keys in outcome.items()})


def _values(item: NewTask, run_id: str | None) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "lane": item.lane,
        "specimen": item.specimen,
        "scan_digest": item.scan_digest,
        "payload": to_text(dict(item.payload), what="task's payload"),
        "priority": item.priority,
        "max_attempts": item.max_attempts,
        "run": run_id,
    }


def _new_row(item: NewTask, values: dict[str, Any], now: float) -> dict[str, Any]:
    return {
        "key": item.key,
        "state": TaskState.QUEUED.value,
        "attempts": 0,
        "token": 0,
        "deaths": 0,
        "kills": 0,
        "alone": False,
        "enqueued_at": utc_now(),
        "waiting_since": now,
        "rank": rank_of(item.priority, now),
        **values,
    }


def _refresh(
    connection: Connection, row: RowMapping, values: dict[str, Any], now: float, again: bool, freed: set[str]
) -> str:
    """Bring a known task up to date; what became of it."""
    this = update(tasks).where(tasks.c.key == row["key"])
    match TaskState(row["state"]):
        case TaskState.DONE:
            return "known_done"
        case TaskState.LEASED:
            return "waiting"
        case TaskState.QUARANTINED:
            return "quarantined"
        case TaskState.QUEUED:
            # The file may lie elsewhere than when the task was first added. Who moved it up did so for a reason.
            priority = max(values["priority"], row["priority"])
            ranked = {"priority": priority, "rank": rank_of(priority, row["waiting_since"])}
            connection.execute(this.where(QUEUED).values(values | ranked))
            return "requeued" if row["key"] in freed else "waiting"
        case TaskState.FAILED if again:
            anew = ANEW | {"waiting_since": now, "rank": rank_of(values["priority"], now)}
            connection.execute(this.values(values | anew))
            return "requeued"
        case TaskState.FAILED:
            connection.execute(this.values(values | {"rank": rank_of(values["priority"], row["waiting_since"])}))
            return "failed"
