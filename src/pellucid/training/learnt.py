"""What the modes of training have in common: how they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import state_digest
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import HeadTraining
from pellucid.training.scans import ScanLeftOut
from pellucid.uncertainty import model_digest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learnt:
    """A trained model with the bags that it is calibrated on.

    `encoder_state` is None where the encoder's weights are not at hand; there is no bundle then. `record` are facts for
    the training's record. `head_training` are the head's settings where they were chosen; the other heads get them too.
    """

    spec: EncoderSpec
    encoder_state: Mapping[str, Tensor] | None
    head_config: GatedAttentionConfig
    head_state: Mapping[str, Tensor]
    training: Sequence[EmbeddedScan]
    tuning: Sequence[EmbeddedScan]
    left_out: Sequence[ScanLeftOut]
    record: dict[str, Any] = field(default_factory=dict)
    head_training: HeadTraining | None = None

    @property
    def digest(self) -> str:
        """What keys the model's passes."""
        return model_digest(self.spec, self.head_config, state_digest(self.head_state))

    def head(self) -> GatedAttention:
        """The head, ready to answer."""
        return load_head(self.head_config, self.head_state)


def by_split(
    embedded: Sequence[EmbeddedScan], training: Sequence[Any]
) -> tuple[list[EmbeddedScan], list[EmbeddedScan]]:
    """The bags of the `training` scans, and the others."""
    wanted = {id(scan) for scan in training}
    return (
        [item for item in embedded if id(item.scan) in wanted],
        [item for item in embedded if id(item.scan) not in wanted],
    )
