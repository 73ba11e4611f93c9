"""Metrics of cases with intervals by patient, for one head or the mean over several seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pellucid.aggregators import GatedAttention
from pellucid.core.seeds import generator
from pellucid.statistics import (
    Interval,
    auroc,
    average_precision,
    brier,
    log_loss,
    patient_bootstrap,
    roc_curve,
)
from pellucid.statistics.bootstrap import Metric
from pellucid.statistics.errors import BootstrapImpossible, OneClass
from pellucid.training.bags import EmbeddedScan
from pellucid.training.validation.cases import Case, cases_of, score_scans

METRICS: Mapping[str, Metric] = {
    "AUROC": auroc,
    "AUPRC": average_precision,
    "Brier score": brier,
    "Log loss (nats)": log_loss,
}
_RATES = np.linspace(0.0, 1.0, 101)
_RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededFigure:
    """A metric's mean over the seeds with its interval by patient, and how far the seeds are apart.

    The interval resamples patients with heads and folds held fixed; the seeds' spread says what training and folds add.
    `sd` is None for one seed.
    """

    interval: Interval
    by_seed: tuple[float, ...]
    sd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RocBand:
    """The mean ROC curve over the seeds at even steps of the false-positive rate, with its pointwise 95 % band."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientScores:
    """The cases of a set of scans, and its figures by patient; a figure that can't be computed is absent."""

    cases: tuple[Case, ...]
    figures: dict[str, Interval]


def scores_by_patient(
    head: GatedAttention, scans: Sequence[EmbeddedScan], *, temperature: float = 1.0, seed: int = 0
) -> PatientScores:
    """How good a head's plain answers about some scans are, by patient: see `cases_of` for what counts once.

    Args:
        head: the trained head, scored without dropout on every tile.
        scans: the scans, with labels.
        temperature: divisor of the logits; Brier score and log loss mean little without.
        seed: of the bootstrap.
    """
    cases = cases_of(score_scans(head, scans))
    logits = np.array([[case.logit / temperature for case in cases]])
    found = {}
    for name in METRICS:
        try:
            found[name] = mean_over_seeds(name, logits, cases, seed=seed).interval
        except (BootstrapImpossible, OneClass):
            # a figure without its interval would mislead
            continue
    return PatientScores(cases=cases, figures=found)


def mean_over_seeds(name: str, logits: NDArray[np.float64], cases: Sequence[Case], *, seed: int) -> SeededFigure:
    """A metric's mean over the seeds.

    Args:
        name: one of `METRICS`.
        logits: `(n_seeds, n_cases)`, calibrated.
        cases: patients and labels.
        seed: of the bootstrap.

    Raises:
        OneClass: all cases are of one class.
        BootstrapImpossible: too few patients of a class.
    """
    metric = METRICS[name]
    predicted = expit(logits) if metric in {brier, log_loss} else logits
    labels = np.array([case.label for case in cases], dtype=np.float64)
    by_seed = tuple(metric(row, labels) for row in predicted)

    def mean(numbers: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
        # the bootstrap draws cases by their numbers, so that all seeds' predictions are resampled alike
        drawn = predicted[:, numbers.astype(np.int64)]
        return math.fsum(metric(row, truth) for row in drawn) / len(drawn)

    interval = patient_bootstrap(mean, np.arange(len(cases)), labels, [case.patient for case in cases], seed=seed)
    spread = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    return SeededFigure(interval=interval, by_seed=by_seed, sd=spread)


def roc_band(logits: NDArray[np.float64], cases: Sequence[Case], *, seed: int) -> RocBand:
    """The mean ROC curve over the seeds and its band, from resampled patients.

    Args:
        logits: `(n_seeds, n_cases)`, calibrated.
        cases: patients and labels, both of them there.
        seed: of the resampling.
    """
    labels = np.array([case.label for case in cases])
    names = sorted({case.patient for case in cases})
    rows_of = [[row for row, case in enumerate(cases) if case.patient == name] for name in names]
    rng = generator("validation roc", seed)
    curves = []
    for _ in range(_RESAMPLES):
        rows = np.concatenate([rows_of[drawn] for drawn in rng.integers(len(names), size=len(names))])
        if 0 < labels[rows].sum() < len(rows):
            curves.append(_curve(logits[:, rows], labels[rows]))
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return RocBand(
        false_positive_rate=tuple(_RATES.tolist()),
        true_positive_rate=tuple(_curve(logits, labels).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
    )


def _curve(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The true-positive rate at `_RATES`, mean over the seeds; where the curve rises steeply, its upper end."""
    found = []
    for row in logits:
        curve = roc_curve(row, labels)
        last = np.searchsorted(curve.false_positive_rate, _RATES, side="right") - 1
        found.append(np.asarray(curve.true_positive_rate)[last])
    return np.asarray(np.mean(found, axis=0))
