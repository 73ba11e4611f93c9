"""Encoder and head as one model: what a joint training's checkpoint holds, and the plain way from tiles to a logit."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pellucid.aggregators import GatedAttention
from pellucid.aggregators.gated_attention import HeadOutput


class JointModel(nn.Module):
    """An encoder and a head; its parameters are named `encoder.*` and `head.*`.

    Args:
        encoder: maps normalised tiles `(b, 3, h, w)` to `(b, dim)`.
        head: takes embeddings of that width.
    """

    def __init__(self, encoder: nn.Module, head: GatedAttention) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, tiles: Tensor) -> HeadOutput:
        """Score a bag with all its tiles in the encoder at once: for few tiles, and as what a step must equal."""
        output: HeadOutput = self.head(self.encoder(tiles).to(self.head.trunk1.weight.dtype))
        return output

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that train, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


def freeze_statistics(network: nn.Module) -> None:
    """Let every batch normalisation use its running statistics, and leave them as they are.

    A tile's embedding would depend on the others of its chunk otherwise, and no exact gradient could be taken chunk by
    chunk. Scale and shift still train. A later `train()` undoes it.
    """
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
