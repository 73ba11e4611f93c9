"""Tasks as rooms above this floor see them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

STAT_PRIORITY = 1000
"""From this priority on a task goes before all others, however long they have waited."""


class TaskState(StrEnum):
    """Where a task stands; every task ends in `done`, `failed` or `quarantined`.

    A failed task could not be done; a quarantined one ended the processes that tried, and is not tried again before a
    person says so.
    """

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """Work to be done once.

    `key` is what makes it the same work (see `task_key`); `payload` is plain JSON for whoever does it. A higher
    `priority` goes first; an hour of waiting counts as much as one step of priority. A `lane` keeps apart tasks that
    different workers can do, such as those of one model. `max_attempts` is how many processes it may end, working on
    nothing else, before it is quarantined.
    """

    key: str
    kind: str
    specimen: str
    scan_digest: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    lane: str = ""
    max_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueResult:
    """What became of each key.

    `waiting` are queued or being worked on, `failed` have failed and `quarantined` are quarantined, and are left so;
    `requeued` had failed or had a dead worker.
    """

    new: tuple[str, ...]
    known_done: tuple[str, ...]
    waiting: tuple[str, ...]
    failed: tuple[str, ...]
    requeued: tuple[str, ...]
    quarantined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedTask:
    """A task under lease. `token` fences: it grows with each claim, and only its holder may finish the task.

    `deaths` counts the owners that died or fell silent with it since a step was last made, whatever else they held;
    `kills` the processes that died while they worked on it alone. A task to be done `alone` is worked on with nothing
    beside it, so that a death is its own. `enqueued_at` is a time as the clock writes it.
    """

    id: int
    key: str
    kind: str
    lane: str
    specimen: str
    scan_digest: str | None
    payload: dict[str, Any]
    priority: int
    attempts: int
    token: int
    owner: str
    run: str | None
    enqueued_at: str
    max_attempts: int = 3
    deaths: int = 0
    kills: int = 0
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stands.

    A failed or quarantined one has the `error_code` and message of its last attempt; `cause` says what last went
    wrong with it in any state. `lease_until` and `not_before`, until when it is left to rest, are seconds since 1970
    by the database's clock; `enqueued_at` and `finished_at` times as the clock writes them. See `ClaimedTask`.
    """

    key: str
    kind: str
    lane: str
    specimen: str
    scan_digest: str | None
    payload: dict[str, Any]
    priority: int
    state: TaskState
    attempts: int
    max_attempts: int
    run: str | None
    error_code: str | None
    error_message: str | None
    owner: str | None
    lease_until: float | None
    token: int
    deaths: int
    kills: int
    alone: bool
    cause: str | None
    not_before: float | None
    enqueued_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A lane, or with `lane` None the whole queue, that gives no tasks until somebody resumes it."""

    lane: str | None
    reason: str
    actor: str
    paused_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSummary:
    """The queue in numbers; every state has one, for each lane too.

    `in_backoff` are queued tasks whose next attempt is not due yet. `oldest_waiting_s` and `oldest_stat_s` are how long
    the oldest queued task below STAT priority, and the oldest with it, have waited; 0 where there is none.
    """

    counts: dict[TaskState, int]
    lanes: dict[str, dict[TaskState, int]]
    in_backoff: int
    oldest_waiting_s: float
    oldest_stat_s: float
    pauses: tuple[Pause, ...]
