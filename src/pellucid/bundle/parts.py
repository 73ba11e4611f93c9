"""What goes into a model bundle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests, TuningSpecimen

if TYPE_CHECKING:
    from pellucid.aggregators import GatedAttentionConfig

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How raw logits become a probability, and on how much that was fitted.

    Calibrated logit = raw logit / `temperature`. `level` is the central share of the passes that an interval spans.
    `nll_before` and `nll_after` are the mean negative log likelihood (nats a specimen) on the tuning split at
    temperature 1 and at `temperature`; `slope` and `intercept` are of the calibrated logit in a logistic fit of the
    outcome, None where there is none. `separable`: every logit had the right sign, so the temperature says little more
    than how many specimens there were.
    """

    temperature: float
    n_passes: int = 50
    level: float = 0.9
    n_specimens: int
    n_positive: int
    nll_before: float
    nll_after: float
    slope: float | None = None
    intercept: float | None = None
    separable: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature {self.temperature} is not a finite number above 0")
        if self.n_passes < 2:
            raise ValueError(f"n_passes {self.n_passes} is below 2: a spread needs two passes")
        if not 0 < self.level < 1:
            raise ValueError(f"level {self.level} is not between 0 and 1")
        if not 0 <= self.n_positive <= self.n_specimens:
            raise ValueError(f"n_positive {self.n_positive} is not between 0 and n_specimens {self.n_specimens}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenChecks:
    """Inputs with the outputs that the model gave where it was made.

    `pixels` is `(b, tile_px, tile_px, 3) uint8` with b at most the spec's batch size, `embeddings` is
    `(b, dim) float32`; `features` is `(n, dim) float16`, `logits` is `(n_passes,) float64`, the raw logit of each pass.
    """

    pixels: NDArray[np.uint8]
    embeddings: NDArray[np.float32]
    features: NDArray[np.float16]
    logits: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BundleParts:
    """All that `build_bundle` needs.

    `encoder_state` and `head_state` map a parameter's name to its tensor. `head_config` is the aggregator's
    `GatedAttentionConfig`. `provenance` holds plain facts about the making: the cohort's digest, the configuration, the
    seed. `model_card` is Markdown; a synthetic bundle's card gets a notice that says so. `ensemble` are the states of
    more heads of the same configuration, `tumour` the tile-level tumour head, `patients` the digests of those whose
    slides were used, `tuning` what the model said of the tuning specimens.
    """

    name: str
    synthetic: bool
    spec: EncoderSpec
    encoder_state: Mapping[str, Any]
    head_config: "GatedAttentionConfig"
    head_state: Mapping[str, Any]
    calibration: Calibration
    reference: ReferenceProfile
    golden: GoldenChecks
    model_card: str
    software_version: str
    licence: str
    intended_use: str = RESEARCH_USE
    provenance: Mapping[str, str] = field(default_factory=dict)
    ensemble: Sequence[Mapping[str, Any]] = ()
    tumour: TumourHead | None = None
    patients: PatientDigests | None = None
    tuning: tuple[TuningSpecimen, ...] = ()
