"""Networks that share their trunk: heads with dropout in the gates and on the pooled vector alone.

A gate channel that is dropped is one that the attention doesn't count, so a pass is a row of weights: the attention
logits of all passes are one matrix product with the gates, and their weighted sums are one with the trunk's outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.masks import Masks

ROWS = 64
"""Networks in one matrix product, the last filled up with zeros.

A row's last bits may depend on how many rows its product has; with a fixed number they don't depend on how many passes
were asked for.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SharedTrunk:
    """Several networks that differ in attention and classifier; meets `networks.Networks`.

    Attributes:
        trunk_weight: `(trunk_dim, trunk_dim)`, the second layer.
        trunk_bias: `(trunk_dim, 1)`.
        gate_weight: `(2 gate_dim, trunk_dim)`: the tanh rows, then the sigmoid rows halved, as sigmoid(x) =
            (1 + tanh(x / 2)) / 2.
        gate_bias: `(2 gate_dim, 1)`, likewise.
        score_weights: `(ROWS, gate_dim)` each, a network a row, with its mask, its scales and that half.
        head_weight: see `Networks`.
        head_bias: see `Networks`.
    """

    trunk_weight: Tensor
    trunk_bias: Tensor
    gate_weight: Tensor
    gate_bias: Tensor
    score_weights: tuple[Tensor, ...]
    head_weight: NDArray[np.float64]
    head_bias: float

    def attend(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See `Networks.attend`."""
        trunk = torch.addmm(self.trunk_bias, self.trunk_weight, hidden).relu_()
        gates = torch.addmm(self.gate_bias, self.gate_weight, trunk).tanh_()
        tanh, half = gates.chunk(2)
        product = torch.addcmul(tanh, tanh, half)
        blocks = [weights @ product for weights in self.score_weights]
        sums = [torch.exp(scores - scores.amax(1, keepdim=True)) @ trunk.T for scores in blocks]
        n_networks = len(self.head_weight)
        return torch.cat(blocks)[:n_networks], torch.cat(sums)[:n_networks]


def share_trunk(head: GatedAttention, masks: Sequence[Masks | None]) -> SharedTrunk:
    """Write each mask as a row of attention weights and a row of class weights.

    Args:
        head: a head whose trunk drops nothing; it is only read.
        masks: the networks; None for the one without dropout.
    """
    weights = {name: parameter.detach() for name, parameter in head.named_parameters()}
    attention = weights["attention.weight"][0]
    gates = _factors(head, masks, "gate_tanh") * _factors(head, masks, "gate_sigmoid") / 2
    rows = np.zeros((-(-len(masks) // ROWS) * ROWS, head.config.gate_dim))
    rows[: len(masks)] = gates * attention.double().cpu().numpy()
    classes = weights["classifier.weight"].double().cpu().numpy()
    bias = weights["classifier.bias"].double().cpu().numpy()
    return SharedTrunk(
        trunk_weight=weights["trunk2.weight"],
        trunk_bias=weights["trunk2.bias"][:, None],
        gate_weight=torch.cat([weights["gate_tanh.weight"], weights["gate_sigmoid.weight"] / 2]),
        gate_bias=torch.cat([weights["gate_tanh.bias"], weights["gate_sigmoid.bias"] / 2])[:, None],
        score_weights=tuple(torch.from_numpy(block).to(attention) for block in np.split(rows, len(rows) // ROWS)),
        head_weight=(classes[1] - classes[0]) * _factors(head, masks, "head"),
        head_bias=float(bias[1] - bias[0]),
    )


def _factors(head: GatedAttention, masks: Sequence[Masks | None], site: str) -> NDArray[np.float64]:
    """What each network multiplies a site's channels by, `(n_networks, width)`: 0, or the scale of the kept ones."""
    width, rate = head.config.sites[site]
    return np.stack([np.ones(width) if kept is None else kept[site] / (1.0 - rate) for kept in masks])
