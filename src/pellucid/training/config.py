"""The settings of a training, each with its one default."""

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from pellucid.core.serial import to_plain
from pellucid.training.errors import TrainingConfigInvalid
from pellucid.training.validation.config import Validation


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


class Mode(StrEnum):
    """What is learnt, from what."""

    SMALL = "small"
    """A small encoder from tiles whose tissue is known, then a head on its frozen features."""
    BAGS = "bags"
    """A head on embeddings that are there already; minutes."""
    END_TO_END = "end_to_end"
    """Encoder and head together, from nothing but the slides' labels."""


class Precision(StrEnum):
    """In which numbers an encoder computes; features, head and optimiser stay in at least float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEndTraining:
    """How encoder and head are trained together, as EAGLE was unless said otherwise (see docs/training.md).

    `encoder` names a spec, `weights` the file that it starts from; left out, the small encoder starts from the seed and
    a packaged one from its package. A step takes one slide, of which at most `tiles_per_slide` tiles, cut into chunks
    of `chunk` that go through the network at once; memory grows with `chunk` and, by a few kB a tile, with the tiles.
    An epoch is a `share` of the slides. The learning rate rises to `learning_rate` over `warm_up_epochs` and falls to
    `final_learning_rate`, the head's is `head_factor` times that; weight decay goes from `weight_decay` to
    `final_weight_decay`. `last_blocks` trains only so many blocks of the encoder, None all. `clip` bounds the norm of
    the gradient, None not at all. `validation` is the share of the training patients who are held out to watch the
    training; `deploy_best` takes the weights of the best epoch by them instead of the last one's. `max_unreadable` is
    the share of a slide's tiles, `max_failed` that of the slides, that may fail. `ahead` slides are read in advance.
    """

    encoder: str = "gigapath-224"
    weights: Path | None = None
    tiles_per_slide: int = 2208
    chunk: int = 96
    epochs: int = 20
    share: float = 0.5
    learning_rate: float = 1e-6
    final_learning_rate: float = 1e-8
    head_factor: float = 1.0
    warm_up_epochs: int = 2
    weight_decay: float = 0.04
    final_weight_decay: float = 0.4
    precision: Precision = Precision.BFLOAT16
    activation_checkpointing: bool = True
    last_blocks: int | None = None
    augment: bool = True
    clip: float | None = None
    validation: float = 0.1
    deploy_best: bool = False
    max_unreadable: float = 0.25
    max_failed: float = 0.1
    ahead: int = 2
    readers: int = 2

    def __post_init__(self) -> None:
        _check(self)
        if self.deploy_best and self.validation == 0:
            raise TrainingConfigInvalid("deploy_best is true, but validation is 0: nothing tells which epoch is best.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BagsTraining:
    """Where the bags of `mode = "bags"` come from, and whose they are.

    `folder` holds one `*.bag.safetensors` a scan, of `pellucid bag make` or `bag import`, named as the slide or its
    file; `by_digest` finds them by their scans' digests instead, for which every slide is hashed. `encoder` and
    `weights` are of the encoder that made them; without, the training ends with a head and its figures, but no bundle.
    """

    folder: Path | None = None
    encoder: str | None = None
    weights: Path | None = None
    by_digest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """When checkpoints are written, and which stay.

    The interval is Young's for one failure in `failure_hours`, held between `least_minutes` and `most_minutes`. The
    last `keep_last`, every `keep_every`-th (0: none) and the best stay. A training without a step for `stall_minutes`
    alarms.
    """

    least_minutes: float = 5.0
    most_minutes: float = 30.0
    failure_hours: float = 12.0
    keep_last: int = 3
    keep_every: int = 0
    stall_minutes: float = 15.0

    def __post_init__(self) -> None:
        _check(self)
        if self.least_minutes > self.most_minutes:
            raise TrainingConfigInvalid(
                f"least_minutes is {self.least_minutes}, more than most_minutes, {self.most_minutes}."
            )


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

    `encoder` is how `mode = "small"` trains its encoder; `head` how a head is trained on bags, whichever mode made
    them.
    `max_unusable` is the share of slides that may fail before the training refuses to go on. `min_per_class` is the
    least number of tuning specimens of each class that a temperature is fitted on. `ensemble_heads` more heads are
    trained on the same bags, to hold the passes against. `workers` are reading threads.
    """

    mode: Mode = Mode.SMALL
    name: str = "pellucid-small"
    seed: int = 0
    end_to_end: EndToEndTraining = field(default_factory=EndToEndTraining)
    bags: BagsTraining = field(default_factory=BagsTraining)
    checkpoints: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    validation: Validation = field(default_factory=Validation)
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


_SHARES = {
    "level",
    "max_unusable",
    "sd_quantile",
    "distance_quantile",
    "share",
    "validation",
    "max_unreadable",
    "max_failed",
}
_FROM_ZERO = {
    "seed",
    "weight_decay",
    "final_weight_decay",
    "final_learning_rate",
    "warm_up_epochs",
    "ensemble_heads",
    "keep_every",
}
_OPERATION = {"checkpoints", "workers"}
_OPERATION_END_TO_END = {"ahead", "readers"}


def deciding(config: TrainingConfig) -> dict[str, Any]:
    """What of a configuration decides the result, in plain types: all but how the work is carried out.

    A training that was begun with one number of readers may go on with another.
    """
    plain: dict[str, Any] = to_plain(config)
    for name in _OPERATION:
        del plain[name]
    for name in _OPERATION_END_TO_END:
        del plain["end_to_end"][name]
    return plain


def _check(config: Any) -> None:
    for item in fields(config):
        value = getattr(config, item.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not _usable(item.name, value):
            raise TrainingConfigInvalid(f"{item.name} is {value}, which can't be used.")


def _usable(name: str, value: float) -> bool:
    if not math.isfinite(value):
        return False
    if name in _SHARES:
        return 0 <= value <= 1 and (value > 0 or name != "share")
    return value >= 0 if name in _FROM_ZERO else value > 0
