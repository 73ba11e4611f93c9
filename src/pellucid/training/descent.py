"""One step down the loss, the same for encoder and head, with a schedule that is a function of the step alone."""

import math
from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

from pellucid.training.errors import TrainingDiverged

_WARM_UP: Final = 0.2
_FIRST: Final = 25.0
_LAST: Final = 1e4


def one_cycle(step: int, n_steps: int, peak: float) -> float:
    """The learning rate of step `step` (from 0): up to `peak` over a fifth of the steps, then down to nearly nothing.

    It begins at a 25th of the peak, and goes both ways along half a cosine (Smith and Topin, 2019, as torch's
    OneCycleLR takes it, with `n_steps` + 1 steps).
    """
    top = _WARM_UP * (n_steps + 1) - 1
    first = peak / _FIRST
    if step <= top or n_steps <= top:
        return _between(first, peak, step / top if top > 0 else 1.0)
    return _between(peak, first / _LAST, (step - top) / (n_steps - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


class Descent:
    """AdamW whose learning rate follows `one_cycle`.

    Args:
        parameters: what is trained.
        learning_rate: the peak.
        weight_decay: decoupled, on everything.
        n_steps: how many steps there will be.
        what: what is trained, for messages.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float,
        n_steps: int,
        what: str,
    ) -> None:
        self._what, self._peak, self._n_steps = what, learning_rate, n_steps
        self.optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step."""
        return one_cycle(step, self._n_steps, self._peak)

    def step(self, number: int, loss: Tensor) -> float:
        """Change the parameters against the gradient of `loss` at the rate of step `number`; returns the loss.

        Raises:
            TrainingDiverged: the loss is NaN or infinite; nothing is changed.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"The loss of the {self._what} is {value}.")
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(number)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        return value


class EpochLosses:
    """The mean loss of each epoch so far: a part of the state, so that a resumed training knows them all."""

    def __init__(self, n_epochs: int) -> None:
        self._sums = torch.zeros(n_epochs, dtype=torch.float64)
        self._counts = torch.zeros(n_epochs, dtype=torch.float64)

    def add(self, epoch: int, loss: float, count: int) -> None:
        """Take note of a step's mean loss over `count` items."""
        self._sums[epoch] += loss * count
        self._counts[epoch] += count

    def mean(self, epoch: int) -> float:
        """The mean loss of an epoch."""
        return float(self._sums[epoch] / self._counts[epoch])

    def means(self) -> list[float]:
        """The mean loss of every epoch that has begun."""
        begun = self._counts > 0
        return (self._sums[begun] / self._counts[begun]).tolist()

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts by epoch."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over sums and counts."""
        self._sums.copy_(state_dict["sums"])
        self._counts.copy_(state_dict["counts"])
