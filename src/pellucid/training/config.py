"""The settings of a training, each with its one default."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from pellucid.training.errors import TrainingConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderTraining:
    """How the tile encoder is trained.

    `tiles_per_slide` are drawn from each training slide, fewer where that would make more than `max_tiles` in all,
    which bounds memory (150 KB a tile). Each time a random part of `crop_px` is taken, which varies what is seen and
    saves two thirds of the work; the network pools over any size. `learning_rate` is the peak of a one-cycle schedule.
    """

    tiles_per_slide: int = 40
    max_tiles: int = 6000
    crop_px: int = 128
    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTraining:
    """How the attention head is trained on bags.

    A step takes `bags_per_step` slides, of each at most `tiles_per_bag` tiles drawn anew. `learning_rate` is the peak.
    """

    epochs: int = 20
    bags_per_step: int = 4
    tiles_per_bag: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where the limits of the reference come from, on the tuning split.

    `sd_quantile` of the specimens' sd of the calibrated logit is the limit of "uncertain"; `distance_quantile` of the
    slides' distances, times `distance_margin`, is the limit of "unlike the training slides".
    """

    sd_quantile: float = 0.95
    distance_quantile: float = 0.975
    distance_margin: float = 1.1

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """All that decides a training besides the cohort.

    `max_unusable` is the share of slides that may fail before the training refuses to go on. `min_per_class` is the
    least number of tuning specimens of each class that a temperature is fitted on. `ensemble_heads` more heads are
    trained on the same bags, to hold the passes against. `workers` are reading threads.
    """

    name: str = "pellucid-small"
    seed: int = 0
    encoder: EncoderTraining = field(default_factory=EncoderTraining)
    head: HeadTraining = field(default_factory=HeadTraining)
    limits: Limits = field(default_factory=Limits)
    n_passes: int = 50
    level: float = 0.9
    max_unusable: float = 0.25
    min_per_class: int = 5
    ensemble_heads: int = 4
    workers: int = 2

    def __post_init__(self) -> None:
        _check(self)


_SHARES = {"level", "max_unusable", "sd_quantile", "distance_quantile"}
_FROM_ZERO = {"seed", "weight_decay", "ensemble_heads"}


def _check(config: Any) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, int | float) and not _usable(item.name, value):
            raise TrainingConfigInvalid(f"{item.name} is {value}, which can't be used.")


def _usable(name: str, value: float) -> bool:
    if not math.isfinite(value):
        return False
    if name in _SHARES:
        return 0 <= value <= 1
    return value >= 0 if name in _FROM_ZERO else value > 0
