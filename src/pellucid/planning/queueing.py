"""The queue itself, event by event: servers that take slides by priority, and that fail."""

import heapq
from collections import deque
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Losses of a server: exponential times between them of `mean_up_s`, then `down_s` without it.

    Its slide goes back to the head of the queue `notice_s` after the loss, with what was done of it kept.
    """

    mean_up_s: float
    down_s: float
    notice_s: float

    @property
    def availability(self) -> float:
        """The share of time that a server is there."""
        return self.mean_up_s / (self.mean_up_s + self.down_s)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """When slides were done, `finished_s (n,) float64`, and when servers worked: `busy (k, 2)` from, to, in seconds."""

    finished_s: NDArray[np.float64]
    busy: NDArray[np.float64]

    def busy_s(self, start_s: float, end_s: float) -> float:
        """Server seconds of work between two times."""
        inside = np.clip(self.busy, start_s, end_s)
        return float((inside[:, 1] - inside[:, 0]).sum())


class _Event(IntEnum):
    DONE = 0
    BACK = 1
    LOST = 2
    THERE = 3


class _Floor:
    """The servers and the queue at one moment."""

    def __init__(self, work_s: list[float], urgent: list[bool], n_servers: int) -> None:
        self.left_s = work_s
        self.urgent = urgent
        self.finished_s = [0.0] * len(work_s)
        self.busy: list[tuple[float, float]] = []
        self.events: list[tuple[float, int, _Event, int, int]] = []
        self.idle = list(range(n_servers))
        self._job = [-1] * n_servers
        self._since = [0.0] * n_servers
        self._turn = [0] * n_servers
        self._order = 0
        self._waiting: tuple[deque[int], deque[int]] = (deque(), deque())

    def queue(self, job: int, *, first: bool = False) -> None:
        line = self._waiting[0 if self.urgent[job] else 1]
        if first:
            line.appendleft(job)
        else:
            line.append(job)

    def push(self, time: float, event: _Event, server: int, subject: int = 0) -> None:
        self._order += 1
        heapq.heappush(self.events, (time, self._order, event, server, subject))

    def begin(self, now: float) -> None:
        """Give waiting slides to idle servers, urgent ones first, in the order of their arrival."""
        urgent, routine = self._waiting
        while self.idle and (urgent or routine):
            job = (urgent or routine).popleft()
            server = self.idle.pop()
            self._turn[server] += 1
            self._job[server], self._since[server] = job, now
            self.push(now + self.left_s[job], _Event.DONE, server, self._turn[server])

    def done(self, now: float, server: int, turn: int) -> bool:
        """Whether a slide is finished; not, where the server was lost meanwhile."""
        if turn != self._turn[server]:
            return False
        job = self._leave(now, server)
        self.finished_s[job] = now
        self.idle.append(server)
        return True

    def lose(self, now: float, server: int, failures: Failures) -> None:
        self._turn[server] += 1
        if self._job[server] < 0:
            self.idle.remove(server)
        else:
            job = self._job[server]
            self.left_s[job] = max(0.0, self.left_s[job] - (now - self._since[server]))
            self._leave(now, server)
            self.push(now + failures.notice_s, _Event.BACK, server, job)
        self.push(now + failures.down_s, _Event.THERE, server)

    def _leave(self, now: float, server: int) -> int:
        job, self._job[server] = self._job[server], -1
        self.busy.append((self._since[server], now))
        return job


def serve(
    arrived_s: NDArray[np.float64],
    work_s: NDArray[np.float64],
    urgent: NDArray[np.bool_],
    n_servers: int,
    *,
    failures: Failures | None = None,
    draw: np.random.Generator | None = None,
) -> Served:
    """Serve every slide: each by one server, urgent ones before others, else as they came, none interrupted.

    Args:
        arrived_s: (n,) times of arrival, ascending.
        work_s: (n,) seconds of a server's work.
        urgent: (n,) bool.
        n_servers: how many servers there are.
        failures: how servers fail; never where omitted.
        draw: the randomness of failures, needed with them.
    """
    floor = _Floor(work_s.tolist(), urgent.tolist(), n_servers)
    if failures is not None:
        if draw is None:
            raise ValueError("failures need a generator")
        for server in range(n_servers):
            floor.push(float(draw.exponential(failures.mean_up_s)), _Event.LOST, server)
    arrivals = arrived_s.tolist()
    next_job, n_left = 0, len(arrivals)
    while n_left:
        if next_job < len(arrivals) and not (floor.events and floor.events[0][0] < arrivals[next_job]):
            now = arrivals[next_job]
            floor.queue(next_job)
            next_job += 1
        else:
            now, _, event, server, subject = heapq.heappop(floor.events)
            if event is _Event.DONE:
                n_left -= floor.done(now, server, subject)
            elif event is _Event.BACK:
                floor.queue(subject, first=True)
            elif failures is not None and draw is not None:
                _fail_or_recover(floor, now, event, server, failures, draw)
        floor.begin(now)
    busy = np.array(floor.busy, dtype=np.float64).reshape(-1, 2)
    return Served(finished_s=np.array(floor.finished_s), busy=busy)


def _fail_or_recover(
    floor: _Floor, now: float, event: _Event, server: int, failures: Failures, draw: np.random.Generator
) -> None:
    if event is _Event.LOST:
        floor.lose(now, server, failures)
        return
    floor.idle.append(server)
    floor.push(now + float(draw.exponential(failures.mean_up_s)), _Event.LOST, server)
