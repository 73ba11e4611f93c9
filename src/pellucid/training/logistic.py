"""Logistic regression by Newton's method: convex, so there is nothing to draw and nothing to tune."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.training.errors import TrainingDiverged

_L2 = 1e-3
_STEPS = 50
_HALVINGS = 40
_ENOUGH = 1e-9
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Some rows to learn from: `features (n, d)` of any float type, `wanted (n,)` of 0 and 1, `weight (n,)`."""

    features: Tensor
    wanted: Tensor
    weight: Tensor


def fit_logistic(blocks: Sequence[Rows]) -> tuple[list[float], float]:
    """Minimise the weighted mean log loss plus half of 0.001 times the squared weights of standardised features.

    The blocks are gone through one at a time in float64, so that no more than one of them is ever converted.

    Args:
        blocks: the rows; all have the same d, and at least one a weight above 0.

    Returns:
        The weights of the features as they are, `d` of them, and the bias.

    Raises:
        TrainingDiverged: no minimum was found, which only features that are not finite can bring about.
    """
    blocks = [replace(block, wanted=block.wanted.double(), weight=block.weight.double()) for block in blocks]
    scaling = _Scaling.of(blocks)
    line = torch.zeros(scaling.centre.numel() + 1, dtype=torch.float64)
    loss, gradient, curvature = _expand(blocks, scaling, line)
    for _ in range(_STEPS):
        if float(gradient.abs().max()) < _ENOUGH:
            weights = line[:-1] / scaling.spread
            return weights.tolist(), float(line[-1] - weights @ scaling.centre)
        line = _descend(blocks, scaling, line, torch.linalg.solve(curvature, gradient), loss)
        loss, gradient, curvature = _expand(blocks, scaling, line)
        if not math.isfinite(loss):
            break
    raise TrainingDiverged(f"The loss of the tumour head is {loss} and found no minimum.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scaling:
    """Mean and standard deviation of each feature over all rows, `(d,) float64`; a constant feature has spread 1."""

    centre: Tensor
    spread: Tensor

    @classmethod
    def of(cls, blocks: Sequence[Rows]) -> "_Scaling":
        count = sum(len(block.features) for block in blocks)
        centre = torch.stack([block.features.double().sum(dim=0) for block in blocks]).sum(dim=0) / count
        squares = torch.stack([((block.features.double() - centre) ** 2).sum(dim=0) for block in blocks]).sum(dim=0)
        spread = (squares / count).sqrt()
        return cls(centre=centre, spread=torch.where(spread > 0, spread, torch.ones_like(spread)))

    def columns(self, block: Rows) -> Tensor:
        """`(n, d + 1)`: the standardised features, and ones for the bias."""
        scaled = (block.features.double() - self.centre) / self.spread
        return torch.cat([scaled, torch.ones(len(scaled), 1, dtype=torch.float64)], dim=1)


def _expand(blocks: Sequence[Rows], scaling: _Scaling, line: Tensor) -> tuple[float, Tensor, Tensor]:
    """The loss at `line (d + 1,)`, its gradient and its second derivatives `(d + 1, d + 1)`."""
    total = sum(float(block.weight.sum()) for block in blocks)
    penalty = torch.full_like(line, _L2)
    # the bias says how common tumour is, which is no matter of overfitting
    penalty[-1] = 0.0
    gradient, curvature = penalty * line, torch.diag(penalty)
    for block in blocks:
        columns = scaling.columns(block)
        chance = torch.sigmoid(columns @ line)
        weight = block.weight / total
        gradient = gradient + columns.T @ (weight * (chance - block.wanted))
        curvature = curvature + columns.T @ (columns * (weight * chance * (1 - chance))[:, None])
    return _loss(blocks, scaling, line), gradient, curvature


def _loss(blocks: Sequence[Rows], scaling: _Scaling, line: Tensor) -> float:
    total = sum(float(block.weight.sum()) for block in blocks)
    loss = 0.5 * _L2 * float(line[:-1] @ line[:-1])
    for block in blocks:
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            scaling.columns(block) @ line, block.wanted, weight=block.weight, reduction="sum"
        )
        loss += float(each) / total
    return loss


def _descend(blocks: Sequence[Rows], scaling: _Scaling, line: Tensor, step: Tensor, loss: float) -> Tensor:
    """Go against `step`, half as far each time until the loss doesn't grow."""
    for halving in range(_HALVINGS):
        further = line - step * 0.5**halving
        if _loss(blocks, scaling, further) <= loss + _ROUNDING:
            return further
    return line - step
