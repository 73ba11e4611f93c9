"""How fast the engine is, and what its devices waited for."""

import time
from collections import deque
from typing import TYPE_CHECKING

from pellucid.engine.batches import SlotState
from pellucid.engine.flow import Stage
from pellucid.engine.messages import Role
from pellucid.engine.snapshot import WaitedFor

if TYPE_CHECKING:
    from pellucid.engine.engine import Engine

_WINDOW_S = 60.0


class Rates:
    """Counts since the start and over the last minute.

    Attributes:
        n_tiles: tiles embedded.
        busy_s: seconds that devices worked, all of them together, what they are at included.
        waited: seconds that a device had nothing to do, on the mean of all devices, by what they waited for.
    """

    def __init__(self) -> None:
        self.since = self._last = time.monotonic()
        self.n_tiles = 0
        self.busy_s = 0.0
        self.waited: dict[WaitedFor, float] = dict.fromkeys(WaitedFor, 0.0)
        self._done_s = 0.0
        self._until: float | None = None
        self._recent: deque[tuple[float, int, float]] = deque()
        self._ends: deque[float] = deque(maxlen=1000)
        self._idle_share = 0.0
        self._reason = WaitedFor.DEVICE

    def tiles(self, number: int) -> None:
        """Tiles were embedded."""
        self.n_tiles += number

    def encoded(self, seconds: float) -> None:
        """A device worked."""
        self._done_s += seconds

    def ended(self) -> None:
        """A scan ended."""
        self._ends.append(time.monotonic())

    def look(self, engine: "Engine") -> None:
        """See which devices have nothing to do, and why, from now until the next look."""
        now = time.monotonic()
        self.waited[self._reason] += (now - self._last) * self._idle_share
        self._last = now
        devices = max(1, len(engine.models.devices))
        working = sum(bool(member.hand) for member in engine.crew.of(Role.DEVICE))
        self._idle_share = max(0, devices - working) / devices
        if self._idle_share:
            self._reason = _reason(engine)

    def beat(self, engine: "Engine") -> None:
        """Take note of how far everything is; about once a second."""
        now = time.monotonic()
        working = sum(member.hand[0].took_s for member in engine.crew.of(Role.DEVICE) if member.hand)
        self.busy_s = max(self.busy_s, self._done_s + working)
        self._recent.append((now, self.n_tiles, self.busy_s))
        while now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    def stop(self) -> None:
        """The engine ends: what it takes to end its processes is no time of the run."""
        self._until = time.monotonic()
        self.busy_s = self._done_s

    def busy_share(self, devices: int) -> float:
        """Share of the last minute in which the devices worked."""
        if len(self._recent) < 2:
            return self.busy_share_run(devices)
        (start, _, before), (end, _, after) = self._recent[0], self._recent[-1]
        return min(1.0, (after - before) / max(end - start, 1e-6) / max(1, devices))

    def busy_share_run(self, devices: int) -> float:
        """Share of the whole run in which the devices worked."""
        until = time.monotonic() if self._until is None else self._until
        return min(1.0, self.busy_s / max(until - self.since, 1e-6) / max(1, devices))

    @property
    def tiles_per_s(self) -> float:
        """Tiles a second over the last minute."""
        if len(self._recent) < 2:
            return 0.0
        (start, before, _), (end, after, _) = self._recent[0], self._recent[-1]
        return (after - before) / max(end - start, 1e-6)

    @property
    def slides_per_h(self) -> float:
        """Scans an hour, from the last ends."""
        if len(self._ends) < 2:
            return 0.0
        return (len(self._ends) - 1) / max(self._ends[-1] - self._ends[0], 1e-6) * 3600.0


def _reason(engine: "Engine") -> WaitedFor:
    """What an idle device waits for."""
    if engine.desk.because is not None:
        return WaitedFor.PAUSE
    if not any(member.ready for member in engine.crew.of(Role.DEVICE)):
        return WaitedFor.DEVICE
    stages = {flow.stage for flow in engine.scans}
    if not stages:
        return WaitedFor.DATABASE if engine.tasks.runs("claim") else WaitedFor.SCANS
    if stages & {Stage.PREPARE, Stage.TILES}:
        full = not engine.batches.room and not engine.batches.count(SlotState.FILLING)
        return WaitedFor.SLOTS if full else WaitedFor.TILES
    return WaitedFor.DATABASE if stages <= {Stage.COMMIT, Stage.ENDED} else WaitedFor.POSTERIOR
