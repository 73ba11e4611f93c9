"""Points to draw: ROC, precision-recall, and what share is mutated at which probability."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.statistics.checks import binary_labels, finite_scores, probabilities
from pellucid.statistics.errors import OneClass
from pellucid.statistics.exact import clopper_pearson
from pellucid.statistics.metrics import bin_edges


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """From (0, 0), whose threshold is infinite, to (1, 1); a case is called positive at or above the threshold."""

    thresholds: tuple[float, ...]
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrCurve:
    """One point a distinct score, the highest first; a case is called positive at or above the threshold."""

    thresholds: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Cases of similar probability.

    Attributes:
        n: how many.
        n_positive: how many of them are positive.
        mean_predicted: their mean probability.
        share: the share that is positive.
        low: lower end of its exact interval.
        high: upper end.
    """

    n: int
    n_positive: int
    mean_predicted: float
    share: float
    low: float
    high: float


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> RocCurve:
    """The ROC curve; its area by trapezoids is `auroc`.

    Args:
        scores: `(n,)`, higher means positive.
        labels: `(n,)` of 0 and 1.

    Raises:
        OneClass: all labels are the same.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    thresholds, called, hits = _steps(scores, labels)
    n_positive, n_negative = int(hits[-1]), int(called[-1] - hits[-1])
    if n_positive == 0 or n_negative == 0:
        raise OneClass(f"All {int(called[-1])} labels are the same.")
    return RocCurve(
        thresholds=(float("inf"), *thresholds.tolist()),
        false_positive_rate=(0.0, *((called - hits) / n_negative).tolist()),
        true_positive_rate=(0.0, *(hits / n_positive).tolist()),
    )


def pr_curve(scores: ArrayLike, labels: ArrayLike) -> PrCurve:
    """The precision-recall curve; its area by steps is `average_precision`.

    Raises:
        OneClass: no label is 1.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    thresholds, called, hits = _steps(scores, labels)
    if hits[-1] == 0:
        raise OneClass(f"None of {int(called[-1])} labels is 1.")
    return PrCurve(
        thresholds=tuple(thresholds.tolist()),
        recall=tuple((hits / hits[-1]).tolist()),
        precision=tuple((hits / called).tolist()),
    )


def reliability_bins(
    predicted: ArrayLike, labels: ArrayLike, *, n_bins: int = 10, level: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """Predicted against observed share in bins of about equal mass, each with its exact interval (Clopper-Pearson).

    Equal probabilities share a bin and a bin holds at least two cases where there are two, so there may be fewer bins
    than asked for. The bins are those of `ece`.

    Args:
        predicted: `(n,)` probabilities.
        labels: `(n,)` of 0 and 1.
        n_bins: at most so many bins.
        level: of the intervals.

    Raises:
        LabelsInvalid, ProbabilitiesInvalid, RateInvalid: see their messages.
    """
    values = probabilities(predicted)
    truth = binary_labels(labels, values.size)
    order = np.argsort(values, kind="stable")
    edges = bin_edges(values[order], n_bins)
    bins = []
    for first, end in pairwise(edges):
        rows = order[first:end]
        n, n_positive = rows.size, int(truth[rows].sum())
        low, high = clopper_pearson(n_positive, n, level=level)
        mean = float(np.clip(values[rows].mean(), values[rows[0]], values[rows[-1]]))
        bins.append(
            ReliabilityBin(n=n, n_positive=n_positive, mean_predicted=mean, share=n_positive / n, low=low, high=high)
        )
    return tuple(bins)


def _steps(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    values = finite_scores(scores)
    truth = binary_labels(labels, values.size)
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    hits = np.cumsum(truth[order])[last].astype(np.int64)
    return values[order][last], (last + 1).astype(np.int64), hits
