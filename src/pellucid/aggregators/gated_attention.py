"""Gated attention over the tiles of a scan: embeddings in, one logit and the attention out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.aggregators.bags import check_bag_shape
from pellucid.aggregators.config import GatedAttentionConfig


@dataclass(frozen=True, slots=True, eq=False)
class HeadOutput:
    """What the head says of one bag.

    `logit` is `()`, positive class minus negative; `attention` is `(n_tiles,)` and sums to one; `embedding` is
    `(trunk_dim,)`, the pooled vector before its dropout. All float32 at least, whatever autocast says.
    """

    logit: Tensor
    attention: Tensor
    embedding: Tensor


class GatedAttention(nn.Module):
    """Multiple-instance head with gated attention (Ilse et al., ICML 2018, equation 9).

    Two trunk layers with ReLU, a tanh branch times a sigmoid branch scored by one linear layer, softmax over the tiles,
    the attention-weighted mean of the trunk's output, and a linear layer to two classes. Dropout follows each trunk
    layer, each gate branch and the pooled vector; the modules in `dropout` carry the names of `config.sites`.

    Args:
        config: widths and dropout rates.
        seed: seed of the initial weights (Xavier-normal, zero bias); torch's global generator is not touched.
    """

    def __init__(self, config: GatedAttentionConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.trunk1 = _linear(config.input_dim, config.trunk_dim)
        self.trunk2 = _linear(config.trunk_dim, config.trunk_dim)
        self.gate_tanh = _linear(config.trunk_dim, config.gate_dim)
        self.gate_sigmoid = _linear(config.trunk_dim, config.gate_dim)
        self.attention = _linear(config.gate_dim, 1)
        self.classifier = _linear(config.trunk_dim, 2)
        self.dropout = nn.ModuleDict({site: nn.Dropout(rate) for site, (_, rate) in config.sites.items()})
        self.reset_parameters(seed)

    def reset_parameters(self, seed: int) -> None:
        """Draw the weights anew from `seed`: Xavier-normal, zero bias."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.children():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> HeadOutput:
        """Score one bag.

        Args:
            features: `(n_tiles, input_dim) float32`, in any order.

        Raises:
            BagEmpty: the bag has no tile.
            BagShapeMismatch: the bag isn't `(n_tiles, input_dim)`.
        """
        check_bag_shape(tuple(features.shape), self.config.input_dim)
        hidden = self.dropout["trunk1"](torch.relu(self.trunk1(features)))
        hidden = self.dropout["trunk2"](torch.relu(self.trunk2(hidden)))
        gate = self.dropout["gate_tanh"](torch.tanh(self.gate_tanh(hidden)))
        gate = gate * self.dropout["gate_sigmoid"](torch.sigmoid(self.gate_sigmoid(hidden)))
        # half-precision exponentials over thousands of tiles lose the small weights
        with torch.autocast(features.device.type, enabled=False):
            gate, hidden = gate.to(self.attention.weight.dtype), hidden.to(self.attention.weight.dtype)
            attention = torch.softmax(self.attention(gate).squeeze(1), dim=0)
            embedding = attention @ hidden
            negative, positive = self.classifier(self.dropout["head"](embedding)).unbind()
        return HeadOutput(logit=positive - negative, attention=attention, embedding=embedding)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    # by way of the meta device, as nn.Linear would draw its first weights from the global generator
    return nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
