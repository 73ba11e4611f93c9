"""How often to write a checkpoint."""

import math
import time
from collections import deque
from typing import Final

_REMEMBERED: Final = 5
_FIRST_S: Final = 60.0


class Interval:
    """Young's interval from what checkpoints cost: T = sqrt(2 C M), held between two bounds.

    C are the seconds for which the last checkpoints stopped the training (the mean of five), M is the mean time between
    failures (J. W. Young, 1974). Nothing is known of C before the first checkpoint, so that is due after a minute.

    Times are seconds of `time.monotonic`.

    Args:
        least_s: the shortest interval.
        most_s: the longest: with the save under way it is all that a kill can cost.
        failure_s: the assumed mean time between failures.
        started: when the training started or went on; the present where omitted.
    """

    def __init__(
        self,
        *,
        least_s: float = 300.0,
        most_s: float = 1800.0,
        failure_s: float = 12 * 3600.0,
        started: float | None = None,
    ) -> None:
        if not (0 <= least_s <= most_s and failure_s > 0):
            raise ValueError(f"no interval between {least_s} and {most_s} s with a failure each {failure_s} s")
        self._least_s, self._most_s, self._failure_s = least_s, most_s, failure_s
        self._costs: deque[float] = deque(maxlen=_REMEMBERED)
        self._from = time.monotonic() if started is None else started
        self._retry = False

    @property
    def cost_s(self) -> float:
        """Seconds that a checkpoint costs, the mean of the last ones; 0 while none is known."""
        return sum(self._costs) / len(self._costs) if self._costs else 0.0

    @property
    def length_s(self) -> float:
        """Seconds between two checkpoints."""
        if self._retry or not self._costs:
            return self._least_s
        return min(max(math.sqrt(2 * self.cost_s * self._failure_s), self._least_s), self._most_s)

    @property
    def overhead(self) -> float:
        """The share of time that checkpoints take at this interval."""
        return self.cost_s / (self.length_s + self.cost_s) if self._costs else 0.0

    def since(self, now: float) -> float:
        """Seconds since the last checkpoint, or since the start."""
        return now - self._from

    def due(self, now: float) -> bool:
        """Whether it is time for a checkpoint."""
        first = not self._costs and not self._retry
        return self.since(now) >= (min(_FIRST_S, self._least_s) if first else self.length_s)

    def saved(self, cost_s: float, now: float) -> None:
        """A checkpoint was written; it stopped the training for `cost_s` seconds."""
        self._costs.append(cost_s)
        self._from, self._retry = now, False

    def failed(self, now: float) -> None:
        """A checkpoint could not be written: the next attempt comes after the shortest interval, its cost unknown."""
        self._from, self._retry = now, True
