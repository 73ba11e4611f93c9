"""How the joint step computes, without torch."""

import math
from dataclasses import dataclass

from pellucid.training.config import Precision
from pellucid.training.joint.errors import JointSettingsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSettings:
    """How encoder and head are stepped together.

    Attributes:
        chunk: how many tiles go through the encoder at once; a shorter last chunk is padded. Memory grows with it.
        precision: in which numbers the encoder computes. Its weights, the features and the head stay in float32; with
            float64 all are float64, for checks.
        activation_checkpointing: compute each trained block anew for its backward pass instead of keeping what it
            computed: a third more time, a fraction of the memory.
        last_blocks: train only so many of the encoder's last blocks and what follows them; None trains all of it.
        augment: flip, turn and slightly blur tiles.
        loss_scale: by what the features' gradients are multiplied on their way through a float16 encoder; None takes
            the power of two that suits each step.
        clip: the greatest norm of the gradient of encoder and head; None doesn't clip.

    Raises:
        JointSettingsInvalid: a value can't be used; all are named.
    """

    chunk: int = 32
    precision: Precision = Precision.FLOAT32
    activation_checkpointing: bool = False
    last_blocks: int | None = None
    augment: bool = True
    loss_scale: float | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, which is no whole number from 1"
            for name, value in (("chunk", self.chunk), ("last_blocks", self.last_blocks))
            if value is not None and value < 1
        ]
        problems += [
            f"{name} is {value}, which is no positive number"
            for name, value in (("loss_scale", self.loss_scale), ("clip", self.clip))
            if value is not None and not (math.isfinite(value) and value > 0)
        ]
        if problems:
            raise JointSettingsInvalid(f"{'; '.join(problems)}.")
