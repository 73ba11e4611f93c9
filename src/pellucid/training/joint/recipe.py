"""EAGLE's learning rate and weight decay (Campanella et al., Nature Medicine 2025) as functions of the step alone."""

import math
from dataclasses import dataclass, fields

from pellucid.training.joint.errors import JointSettingsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class JointRecipe:
    """How far each step goes. The defaults are EAGLE's, for GigaPath's 1.1 billion parameters; a step is one slide.

    Attributes:
        epochs: how many.
        share: of the slides, that is one epoch.
        learning_rate: the peak, which is reached after `warm_up_epochs` in a straight line from zero.
        final_learning_rate: where the cosine from the peak ends, at the last step.
        warm_up_epochs: may be zero.
        encoder_factor: what the encoder's learning rate is multiplied by; smaller networks bear more.
        head_factor: what the head's is multiplied by.
        weight_decay: at the first step; decoupled, and only on what has two dimensions or more and is no bias.
        final_weight_decay: where its cosine ends, at the last step.

    Raises:
        JointSettingsInvalid: a value can't be used; all are named.
    """

    epochs: int = 20
    share: float = 0.5
    learning_rate: float = 1e-6
    final_learning_rate: float = 1e-8
    warm_up_epochs: float = 2
    encoder_factor: float = 1.0
    head_factor: float = 1.0
    weight_decay: float = 0.04
    final_weight_decay: float = 0.4

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        problems = [
            f"{name} is {value}, which is no number from zero"
            for name, value in values.items()
            if not (math.isfinite(value) and value >= 0)
        ]
        if self.epochs < 1:
            problems.append(f"epochs is {self.epochs}, which is none")
        if not 0 < self.share <= 1:
            problems.append(f"share is {self.share}, which is no share of the slides")
        if problems:
            raise JointSettingsInvalid(f"{'; '.join(problems)}.")

    def learning_rate_at(self, step: int, epoch_steps: int) -> float:
        """The learning rate of step `step` (from 0) where an epoch has `epoch_steps`, before any factor.

        It is zero at step 0, the peak at the first step after the warm-up, and the final one at the last step.
        """
        warm_up = round(self.warm_up_epochs * epoch_steps)
        if step < warm_up:
            return self.learning_rate * step / warm_up
        done = _share(step - warm_up, self.epochs * epoch_steps - 1 - warm_up)
        return _cosine(self.learning_rate, self.final_learning_rate, done)

    def weight_decay_at(self, step: int, epoch_steps: int) -> float:
        """The weight decay of step `step` (from 0) where an epoch has `epoch_steps`."""
        return _cosine(self.weight_decay, self.final_weight_decay, _share(step, self.epochs * epoch_steps - 1))


def _share(done: int, of: int) -> float:
    return min(1.0, done / of) if of > 0 else 1.0


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` to `end`."""
    return start + (end - start) * (1 - math.cos(math.pi * share)) / 2
