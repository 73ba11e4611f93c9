"""One step down the loss, the same for encoder and head."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pellucid.training.errors import TrainingDiverged

_WARM_UP = 0.2


class Descent:
    """AdamW whose learning rate rises to its peak over the first fifth of the steps and falls to nothing.

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
        self._what = what
        self._optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, learning_rate, total_steps=n_steps + 1, pct_start=_WARM_UP, cycle_momentum=False
        )

    def step(self, loss: Tensor) -> float:
        """Change the parameters against the gradient of `loss` and return its value.

        Raises:
            TrainingDiverged: the loss is NaN or infinite; nothing is changed.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDiverged(f"The loss of the {self._what} is {value}.")
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()
        self._schedule.step()
        return value
