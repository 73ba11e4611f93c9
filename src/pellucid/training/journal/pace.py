"""How long steps, validations and saves take, and so how long the rest will."""

import math
from collections import deque
from statistics import median

_STEPS, _OTHERS = 101, 9


class Pace:
    """Medians of recent spans: one slide on a slow share or one step with a compilation doesn't move them."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._waits: deque[float] = deque(maxlen=_STEPS)
        self._epochs: deque[float] = deque(maxlen=_OTHERS)
        self._saves: deque[float] = deque(maxlen=_OTHERS)

    def step(self, seconds: float, waited_s: float = 0.0) -> None:
        """A step took so long, of which it waited for tiles so long."""
        self._steps.append(seconds)
        self._waits.append(waited_s)

    def epoch(self, seconds: float) -> None:
        """What follows an epoch's last step, such as its validation, took so long."""
        self._epochs.append(seconds)

    def save(self, seconds: float) -> None:
        """A checkpoint took so long."""
        self._saves.append(seconds)

    @property
    def step_s(self) -> float | None:
        """Seconds of a step; None before the first."""
        return median(self._steps) if self._steps else None

    @property
    def waiting_share(self) -> float:
        """Share of the recent steps' time that went to waiting, 0 to 1."""
        total = sum(self._steps)
        return min(1.0, sum(self._waits) / total) if total > 0 else 0.0

    def left_s(self, steps: int, epochs: int, interval_s: float) -> float | None:
        """Seconds that `steps` more steps and the ends of `epochs` take, with a checkpoint each `interval_s` and epoch.

        None before the first step. What was never measured, such as a validation before the first, counts as nothing.
        """
        step_s = self.step_s
        if step_s is None:
            return None
        work = steps * step_s + epochs * (median(self._epochs) if self._epochs else 0.0)
        saves = (math.floor(work / interval_s) if interval_s > 0 else 0) + epochs
        return work + saves * (median(self._saves) if self._saves else 0.0)
