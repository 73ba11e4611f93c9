"""A process of the crew, and the jobs in its hand."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pellucid.engine.children import Child
from pellucid.engine.messages import (
    Answer,
    Encode,
    Encoded,
    Identified,
    Identify,
    Illustrate,
    Illustrated,
    Job,
    Prepare,
    Prepared,
    ReadTiles,
    Refused,
    Role,
    Sample,
    Sampled,
    TilesRead,
)

_AT_ONCE = 2
"""A process finds its next job in its socket when it ends one: it never waits for the supervisor."""
_ANSWERS: dict[type[Job], type[Answer]] = {
    Identify: Identified,
    Prepare: Prepared,
    ReadTiles: TilesRead,
    Illustrate: Illustrated,
    Encode: Encoded,
    Sample: Sampled,
}


@dataclass(slots=True, eq=False)
class Assignment:
    """A job given to a process.

    `about` is whose it is; `kills` counts the processes that it ended. `begun` is when its process could begin with it,
    by the monotonic clock.
    """

    job: Job
    about: Any
    kills: int = 0
    begun: float = 0.0

    @property
    def begun_at(self) -> float:
        """When its process could begin with it, in seconds since 1970."""
        return time.time() - self.took_s

    @property
    def took_s(self) -> float:
        """Seconds since its process could begin with it."""
        return max(0.0, time.monotonic() - self.begun)

    def is_answered_by(self, answer: Answer) -> bool:
        """Whether an answer is one to this job, of the right kind and length."""
        if answer.job != self.job.job:
            return False
        if isinstance(answer, Refused):
            return True
        if not isinstance(answer, _ANSWERS[type(self.job)]):
            return False
        if isinstance(self.job, ReadTiles) and isinstance(answer, TilesRead):
            return answer.readable.shape == (len(self.job.coords),)
        if isinstance(self.job, Encode) and isinstance(answer, Encoded):
            return answer.finite.shape == (len(self.job.rows),)
        return True


@dataclass(slots=True, eq=False)
class Member:
    """A process and what it has in hand, in the order in which it does it.

    `hangs` says that it was killed because it made no step while it waited for the system.
    """

    role: Role
    number: int
    child: Child | None = None
    hand: deque[Assignment] = field(default_factory=deque)
    last_step: float = field(default_factory=time.monotonic)
    done: int = 0
    leaving: bool = False
    hangs: bool = False

    @property
    def name(self) -> str:
        """Such as "reader 2"."""
        return f"{self.role.value} {self.number}"

    @property
    def ready(self) -> bool:
        """Whether it takes jobs."""
        return self.child is not None and self.child.ready and not self.leaving

    @property
    def room(self) -> int:
        """How many more jobs it may be given. One that killed its process before has the next one for itself."""
        if not self.ready or any(one.kills for one in self.hand):
            return 0
        return _AT_ONCE - len(self.hand)

    def take(self, assignment: Assignment) -> None:
        """A job was sent to it."""
        if not self.hand:
            self.last_step = assignment.begun = time.monotonic()
        self.hand.append(assignment)

    def put_down(self) -> Assignment:
        """Its first job is done."""
        assignment = self.hand.popleft()
        self.done += 1
        if self.hand:
            self.hand[0].begun = time.monotonic()
        return assignment
