"""The networks that a bag is put through: what dropout makes of one head."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.masks import Masks
from pellucid.uncertainty.shared import share_trunk
from pellucid.uncertainty.thinned import thin_each


class Networks(Protocol):
    """Several networks behind the first layer of one head.

    `head_weight` is `(n_networks, trunk_dim) float64` and `head_bias` a number: positive minus negative class, applied
    to the pooled vectors.
    """

    @property
    def head_weight(self) -> NDArray[np.float64]: ...  # noqa: D102 - told above

    @property
    def head_bias(self) -> float: ...  # noqa: D102

    def attend(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Attention logits and weighted sums of some tiles.

        Args:
            hidden: `(trunk_dim, n)`, the first layer after its ReLU.

        Returns:
            `(n_networks, n)` attention logits less their common bias, and `(n_networks, trunk_dim)` sums of the trunk's
            outputs, weighted by the exponentials of these logits less each network's own maximum.
        """
        ...


def networks_of(head: GatedAttention, masks: Sequence[Masks | None]) -> Networks:
    """The networks of some masks, one each; the head is only read.

    Where no trunk channel is ever dropped, all of them share the trunk and the gates and differ in two small matrix
    products alone; otherwise each has its own second layer and gates.
    """
    return share_trunk(head, masks) if head.config.trunk_dropout == 0 else thin_each(head, masks)
