"""Which confidence tells right answers from wrong ones best: Monte-Carlo dropout, an ensemble, one plain pass."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.evaluation.measures import Answered, Measure, Resampling, measure
from pellucid.evaluation.ranking import Point, thinned
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.statistics.selective import (
    augrc,
    aurc,
    e_aurc,
    failure_auroc,
    risk_coverage,
    selective_accuracy,
)

COVERAGE = 0.8
"""Of the specimens, the most confident share whose accuracy is reported."""


class Confidence(StrEnum):
    """What the specimens are ordered by; each predicts by the sign of its own mean logit."""

    DROPOUT_MEAN = "dropout_mean"
    DROPOUT_SPREAD = "dropout_spread"
    ENSEMBLE_MEAN = "ensemble_mean"
    DETERMINISTIC = "deterministic"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverageFigures:
    """A confidence's risk-coverage curve and its figures.

    `curve` are points (coverage, share of errors among those covered). `augrc` is to be multiplied by 1,000 where it is
    shown as in the literature. `augrc_less` is the AUGRC less that of `DROPOUT_MEAN` on the same resampled patients,
    None for that one itself: below 0 is better.
    """

    confidence: Confidence
    accuracy: Measure
    selective_accuracy: Measure
    aurc: Measure
    e_aurc: Measure
    augrc: Measure
    failure_auroc: Measure
    augrc_less: Measure | None
    curve: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Every confidence there is, on the same specimens.

    `absent` are confidences that the model doesn't have; `n_without` counts specimens that are left out because one of
    the others is missing for them.
    """

    n: int
    n_without: int
    figures: tuple[RiskCoverageFigures, ...]
    absent: tuple[Confidence, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]


def describe_selection(sample: Answered, resampling: Resampling) -> Selection:
    """Compare the confidences on the specimens for which all of them exist."""
    logits = {confidence: [_logit(one, confidence) for one in sample.specimens] for confidence in Confidence}
    present = [confidence for confidence in Confidence if any(value is not None for value in logits[confidence])]
    common = [row for row in range(len(sample)) if all(logits[confidence][row] is not None for confidence in present)]
    labels = sample.labels[common]
    patients = [sample.patients[row] for row in common]
    scored: dict[Confidence, _Scored] = {}
    for confidence in present:
        values = np.array([logits[confidence][row] for row in common], dtype=np.float64)
        ordering = -sample.sds[common] if confidence is Confidence.DROPOUT_SPREAD else np.abs(values)
        scored[confidence] = _Scored(ordering, ((values >= 0) == (labels == 1)).astype(np.float64))
    return Selection(
        n=len(common),
        n_without=len(sample) - len(common),
        figures=tuple(_figures(confidence, scored, patients, resampling) for confidence in present if common),
        absent=tuple(confidence for confidence in Confidence if confidence not in present),
    )


def _logit(one: AssessedSpecimen, confidence: Confidence) -> float | None:
    if confidence is Confidence.DETERMINISTIC:
        return one.deterministic
    if confidence is Confidence.ENSEMBLE_MEAN:
        return math.fsum(one.ensemble) / len(one.ensemble) if one.ensemble else None
    return None if one.posterior is None else one.posterior.mean_logit


def _figures(
    confidence: Confidence, scored: dict[Confidence, _Scored], patients: list[str], resampling: Resampling
) -> RiskCoverageFigures:
    own, base = scored[confidence], scored[Confidence.DROPOUT_MEAN]

    def figure(metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> Measure:
        return measure(lambda rows: metric(own.confidence[rows], own.correct[rows]), own.correct, patients, resampling)

    def difference(rows: NDArray[np.int64]) -> float:
        return augrc(own.confidence[rows], own.correct[rows]) - augrc(base.confidence[rows], base.correct[rows])

    curve = risk_coverage(own.confidence, own.correct)
    return RiskCoverageFigures(
        confidence=confidence,
        accuracy=figure(lambda _, correct: float(correct.mean())),
        selective_accuracy=figure(lambda given, correct: selective_accuracy(given, correct, coverage=COVERAGE)),
        aurc=figure(aurc),
        e_aurc=figure(e_aurc),
        augrc=figure(augrc),
        failure_auroc=figure(failure_auroc),
        augrc_less=None if own is base else measure(difference, own.correct, patients, resampling),
        curve=thinned(list(zip(curve.coverage, curve.risk, strict=True))),
    )
