"""How many readers run: one more while the device waits for tiles and cores are idle, one less while they are too many.

A change must be called for over a while, and is judged by what it did: a reader that didn't make the device busier is
taken back, and the next try waits longer each time. So where storage or the cores are the limit, the number stays put,
and where one reader is too few and two are too many, it swings ever more rarely.
"""

from collections import deque
from dataclasses import dataclass
from statistics import fmean

_WINDOW_S = 5
_SETTLE_S = 5
# A reader too many costs memory alone, one too few makes the device wait: the first is put up with for longer.
_PATIENCE_MORE_S = (60, 120, 240, 300)
_PATIENCE_FEWER_S = (120, 600, 3600)
_SURPLUS_S = 20
_BUSY = 0.95
_WORTH = 0.02
_IDLE_CPU = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The engine over the last second; shares are of 0 to 1.

    `device_busy` is the share of time that the device worked, `free_slots` and `ready_slots` are shares of all slots,
    `cpu_idle` is the share of the allotted cores that did nothing, `readers` run, and `tile_jobs` wait for one.
    """

    device_busy: float
    free_slots: float
    ready_slots: float
    cpu_idle: float
    readers: int
    tile_jobs: int


@dataclass(frozen=True, slots=True)
class Advice:
    """Readers to add: 1, 0 or -1; and why."""

    step: int
    why: str


_STAY = Advice(0, "")


class _Pause:
    """Seconds to wait before the next try, longer after each one in vain."""

    def __init__(self, waits_s: tuple[int, ...]) -> None:
        self.left_s = 0
        self._waits_s = waits_s
        self._tries = 0

    def tick(self) -> None:
        self.left_s = max(0, self.left_s - 1)

    def begin(self) -> None:
        self.left_s = self._waits_s[min(self._tries, len(self._waits_s) - 1)]
        self._tries += 1

    def forget(self) -> None:
        self._tries = 0


class ReaderTuner:
    """Fed with a `Load` each second, says when to start or end a reader. Bounds are never left."""

    def __init__(self, *, min_readers: int, max_readers: int) -> None:
        if not 1 <= min_readers <= max_readers:
            raise ValueError(f"from {min_readers} to {max_readers} readers")
        self._least, self._most = min_readers, max_readers
        self._loads: deque[Load] = deque(maxlen=_WINDOW_S)
        self._settling_s = 0
        self._surplus_s = 0
        self._busy_before: float | None = None
        self._lowered = False
        self._no_more, self._no_fewer = _Pause(_PATIENCE_MORE_S), _Pause(_PATIENCE_FEWER_S)

    def advise(self, load: Load) -> Advice:
        """What to do after this second; it is taken to be done by the time that the next seconds show its effect."""
        self._no_more.tick()
        self._no_fewer.tick()
        if self._settling_s:
            self._settling_s -= 1
            return _STAY
        if not self._least <= load.readers <= self._most:
            step = 1 if load.readers < self._least else -1
            return self._change(step, f"{load.readers} readers run, and {self._least} to {self._most} may")
        self._loads.append(load)
        if len(self._loads) < _WINDOW_S:
            return _STAY
        return self._judge(load.readers) or self._more(load.readers) or self._fewer(load.readers) or _STAY

    def _judge(self, readers: int) -> Advice | None:
        """Take the reader back that was added last, unless the device is busier for it."""
        before, self._busy_before = self._busy_before, None
        if before is None or not self._work_waits():
            return None
        busy = self._mean("device_busy")
        if busy >= min(before + _WORTH, _BUSY):
            self._no_more.forget()
            return None
        self._no_more.begin()
        if readers <= self._least:
            return None
        return self._change(
            -1,
            f"reader {readers} didn't help: the device is busy {busy:.0%} of the time, {before:.0%} before it; "
            f"storage or the cores are the limit; the next try is in {self._no_more.left_s} s",
        )

    def _more(self, readers: int) -> Advice | None:
        busy, free = self._mean("device_busy"), self._mean("free_slots")
        starved = busy < _BUSY and free > 0.1 and self._mean("ready_slots") < 0.25
        if not (starved and self._work_waits() and self._mean("cpu_idle") >= _IDLE_CPU):
            return None
        if self._no_more.left_s or readers >= self._most:
            return None
        if self._lowered:
            self._no_fewer.begin()
        self._lowered = False
        self._busy_before = busy
        return self._change(1, f"the device is busy {busy:.0%} of the time, and {free:.0%} of the slots are free")

    def _fewer(self, readers: int) -> Advice | None:
        ready = self._mean("ready_slots")
        ahead = self._mean("device_busy") >= _BUSY and ready > 0.5
        self._surplus_s = self._surplus_s + 1 if ahead else 0
        if self._surplus_s < _SURPLUS_S or self._no_fewer.left_s or readers <= self._least:
            return None
        self._lowered = True
        return self._change(-1, f"{ready:.0%} of the slots wait for the device, which is busy all the time")

    def _work_waits(self) -> bool:
        return all(load.tile_jobs > 0 for load in self._loads)

    def _mean(self, name: str) -> float:
        return fmean(getattr(load, name) for load in self._loads)

    def _change(self, step: int, why: str) -> Advice:
        self._loads.clear()
        self._settling_s = _SETTLE_S
        self._surplus_s = 0
        return Advice(step, why)
