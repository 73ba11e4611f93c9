"""How fast the engine is, and what its devices waited for."""

import time
from collections import deque
from typing import TYPE_CHECKING

from pellucid.engine.snapshot import WaitedFor

if TYPE_CHECKING:
    from pellucid.engine.engine import Engine

_WINDOW_S = 60.0


class Rates:
    """Counts since the start and over the last minute."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.n_tiles = self.n_ended = 0
        self.busy_s = 0.0
        self.waited: dict[WaitedFor, float] = dict.fromkeys(WaitedFor, 0.0)
        self._recent: deque[tuple[float, int, float]] = deque()
        self._ends: deque[float] = deque(maxlen=1000)
        self._last = time.monotonic()
        self._last_busy = 0.0

    def tiles(self, number: int) -> None:
        """Tiles were embedded."""
        self.n_tiles += number

    def encoded(self, seconds: float, _waited_s: float) -> None:
        """A device worked."""
        self.busy_s += seconds

    def ended(self) -> None:
        """A scan ended."""
        self.n_ended += 1
        self._ends.append(time.monotonic())

    def beat(self, engine: "Engine") -> None:
        """Attribute the time since the last beat in which devices had nothing to do."""
        now = time.monotonic()
        devices = max(1, len(engine.models.devices))
        idle = max(0.0, (now - self._last) - (self.busy_s - self._last_busy) / devices)
        self.waited[self._reason(engine)] += idle
        self._last, self._last_busy = now, self.busy_s
        self._recent.append((now, self.n_tiles, self.busy_s))
        while self._recent and now - self._recent[0][0] > _WINDOW_S:
            self._recent.popleft()

    def busy_share(self, devices: int) -> float:
        """Share of the last minute in which the devices worked."""
        if len(self._recent) < 2:
            return self.busy_share_run(devices)
        (start, _, before), (end, _, after) = self._recent[0], self._recent[-1]
        return min(1.0, (after - before) / max(end - start, 1e-6) / max(1, devices))

    def busy_share_run(self, devices: int) -> float:
        """Share of the whole run in which the devices worked."""
        return min(1.0, self.busy_s / max(time.monotonic() - self.since, 1e-6) / max(1, devices))

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

    @staticmethod
    def _reason(engine: "Engine") -> WaitedFor:
        from pellucid.engine.batches import SlotState
        from pellucid.engine.messages import Role

        if engine.desk.because is not None:
            return WaitedFor.PAUSE
        if not any(member.ready for member in engine.crew.of(Role.DEVICE)):
            return WaitedFor.DEVICE
        if not engine.flows:
            return WaitedFor.SCANS
        if engine.batches.count(SlotState.READY):
            return WaitedFor.SLOTS
        return (
            WaitedFor.TILES
            if engine.reading.backlog or any(f.reading for f in engine.flows.values())
            else WaitedFor.POSTERIOR
        )
