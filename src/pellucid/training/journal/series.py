"""Curves that stay small however long a training is."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.training.journal.standing import LEARNING_RATES

_POINTS = 2048


class Thinned:
    """A curve of at most 2,048 points: means over runs of steps, whose length doubles whenever there are more.

    Which steps share a point depends on their numbers alone, so a curve read back after a resume is the same.
    """

    def __init__(self) -> None:
        self._width = 1
        # sums of steps and of values, and how many, by the number of their run
        self._sums: dict[int, tuple[int, float, int]] = {}

    def add(self, step: int, value: float) -> None:
        """Add the value of a step, in any order."""
        self._merge(self._sums, step // self._width, (step, value, 1))
        if len(self._sums) > _POINTS:
            merged: dict[int, tuple[int, float, int]] = {}
            for key, sums in self._sums.items():
                self._merge(merged, key // 2, sums)
            self._width, self._sums = 2 * self._width, merged

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The means of the steps and of the values, each `(n,) float64`, by step."""
        sums = np.array([self._sums[key] for key in sorted(self._sums)], np.float64).reshape(-1, 3)
        return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]

    def copy(self) -> "Thinned":
        """The curve as it is now."""
        other = Thinned()
        other._width, other._sums = self._width, dict(self._sums)
        return other

    def __len__(self) -> int:
        return len(self._sums)

    @staticmethod
    def _merge(into: dict[int, tuple[int, float, int]], key: int, sums: tuple[int, float, int]) -> None:
        steps, total, number = into.get(key, (0, 0.0, 0))
        into[key] = steps + sums[0], total + sums[1], number + sums[2]


@dataclass(slots=True, kw_only=True)
class TaskCurves:
    """What is drawn of one task. `scores` are the validation's, at the step after which it was made."""

    loss: Thinned = field(default_factory=Thinned)
    learning_rate: Thinned = field(default_factory=Thinned)
    scores: dict[int, float] = field(default_factory=dict)

    def copy(self) -> "TaskCurves":
        """The curves as they are now."""
        return TaskCurves(loss=self.loss.copy(), learning_rate=self.learning_rate.copy(), scores=dict(self.scores))

    def add(self, line: dict[str, Any]) -> None:
        """Take in a line of `metrics.jsonl`; what isn't drawn is passed over."""
        step = line.get("step")
        if not isinstance(step, int):
            return
        if line.get("kind") == "epoch":
            if isinstance(line.get("score"), int | float):
                self.scores[step + 1] = float(line["score"])
            return
        if isinstance(line.get("loss"), int | float):
            self.loss.add(step, float(line["loss"]))
        rate = next((line[name] for name in LEARNING_RATES if isinstance(line.get(name), int | float)), None)
        if rate is not None:
            self.learning_rate.add(step, float(rate))


def read_curves(lines: Iterable[dict[str, Any]]) -> dict[str, TaskCurves]:
    """The curves of every task of `metrics.jsonl`, in the order in which the tasks first appear."""
    curves: dict[str, TaskCurves] = {}
    for line in lines:
        if isinstance(line.get("task"), str):
            curves.setdefault(line["task"], TaskCurves()).add(line)
    return curves
