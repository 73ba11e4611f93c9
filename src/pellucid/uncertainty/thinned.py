"""Thinned heads: what is left of a head once one pass's channels are dropped (Srivastava et al., JMLR 2014).

A dropped channel is cut out of the weights instead of multiplied by zero, and the scale of the kept ones is folded
into the weights behind them. Everything is laid out channels x tiles, where cutting channels copies whole rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.masks import Masks


@dataclass(frozen=True, slots=True, eq=False)
class ThinnedHead:
    """One pass's network behind the shared first layer.

    `k1`, `k2` are the channels kept of the two trunk layers, `kg` the gate channels kept in both branches.

    Attributes:
        trunk1: `(k1,) int64`, channels taken from the shared first layer.
        trunk2: `(k2,) int64`, which channels of the pooled vector this pass fills; the others are zero.
        trunk_weight: `(k2, k1)`; both trunk sites' scales are folded in.
        trunk_bias: `(k2, 1)`, likewise.
        gate_weight: `(2 kg, k2)`: the tanh rows, then the sigmoid rows halved, as sigmoid(x) = (1 + tanh(x / 2)) / 2.
        gate_bias: `(2 kg, 1)`, likewise.
        score_weight: `(kg,)`, with the gate sites' scales and that half; the bias is left out, as softmax cancels it.
        head_weight: `(trunk_dim,) float64`, positive minus negative class, with the pooled vector's mask and scale.
        head_bias: positive minus negative class.
    """

    trunk1: Tensor
    trunk2: Tensor
    trunk_weight: Tensor
    trunk_bias: Tensor
    gate_weight: Tensor
    gate_bias: Tensor
    score_weight: Tensor
    head_weight: NDArray[np.float64]
    head_bias: float

    def attend(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Trunk output and attention logits of some tiles.

        Args:
            hidden: `(trunk_dim, n)`, the shared first layer after its ReLU.

        Returns:
            `(k2, n)` what is pooled, and `(n,)` the attention logits less their common bias.
        """
        trunk = torch.addmm(self.trunk_bias, self.trunk_weight, hidden.index_select(0, self.trunk1)).relu_()
        gates = torch.addmm(self.gate_bias, self.gate_weight, trunk).tanh_()
        tanh, half = gates.chunk(2)
        return trunk, self.score_weight @ torch.addcmul(tanh, tanh, half)


@dataclass(frozen=True, slots=True, eq=False)
class ThinnedHeads:
    """Several networks, each thinned on its own; meets `networks.Networks`."""

    each: tuple[ThinnedHead, ...]

    @property
    def head_weight(self) -> NDArray[np.float64]:
        """See `Networks`."""
        return np.stack([network.head_weight for network in self.each])

    @property
    def head_bias(self) -> float:
        """See `Networks`."""
        return self.each[0].head_bias

    def attend(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See `Networks.attend`."""
        scores = hidden.new_empty(len(self.each), hidden.shape[1])
        sums = hidden.new_zeros(len(self.each), hidden.shape[0])
        for row, network in enumerate(self.each):
            trunk, scores[row] = network.attend(hidden)
            sums[row, network.trunk2] = trunk @ torch.exp(scores[row] - scores[row].max())
        return scores, sums


def thin_each(head: GatedAttention, masks: Sequence[Masks | None]) -> ThinnedHeads:
    """Thin a head once for each of some masks; see `thin`."""
    return ThinnedHeads(tuple(thin(head, kept) for kept in masks))


def thin(head: GatedAttention, masks: Masks | None) -> ThinnedHead:
    """Cut a pass's dropped channels out of a head; the head itself is only read.

    Args:
        head: the full head.
        masks: the kept channels; None for the dropout-free head.
    """
    device = head.trunk1.weight.device
    scale = {site: 1.0 if masks is None else 1.0 / (1.0 - rate) for site, (_, rate) in head.config.sites.items()}
    if masks is None:
        masks = {site: np.ones(width, dtype=np.bool_) for site, (width, _) in head.config.sites.items()}
    # a gate channel counts only where both of its branches are kept
    both = masks["gate_tanh"] & masks["gate_sigmoid"]
    trunk1, trunk2, gate = (_channels(mask, device) for mask in (masks["trunk1"], masks["trunk2"], both))
    weights = {name: parameter.detach() for name, parameter in head.named_parameters()}
    branches = [(weights[f"{site}.weight"], weights[f"{site}.bias"]) for site in ("gate_tanh", "gate_sigmoid")]
    classes = weights["classifier.weight"].double().cpu().numpy()
    bias = weights["classifier.bias"].double().cpu().numpy()
    trunk_weight = weights["trunk2.weight"].index_select(0, trunk2).index_select(1, trunk1)
    tanh_rows, sigmoid_rows = (weight.index_select(0, gate).index_select(1, trunk2) for weight, _ in branches)
    tanh_bias, sigmoid_bias = (bias.index_select(0, gate) for _, bias in branches)
    return ThinnedHead(
        trunk1=trunk1,
        trunk2=trunk2,
        # ReLU commutes with a positive factor, so the second site's scale can go in before it
        trunk_weight=trunk_weight * (scale["trunk1"] * scale["trunk2"]),
        trunk_bias=(weights["trunk2.bias"].index_select(0, trunk2) * scale["trunk2"])[:, None],
        gate_weight=torch.cat([tanh_rows, sigmoid_rows / 2]),
        gate_bias=torch.cat([tanh_bias, sigmoid_bias / 2])[:, None],
        score_weight=weights["attention.weight"][0].index_select(0, gate)
        * (scale["gate_tanh"] * scale["gate_sigmoid"] / 2),
        head_weight=(classes[1] - classes[0]) * masks["head"] * scale["head"],
        head_bias=float(bias[1] - bias[0]),
    )


def _channels(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask)).to(device)
