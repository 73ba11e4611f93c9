"""How good the answers are: ranking, probabilities, calibration."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from pellucid.statistics.bootstrap import Interval, patient_bootstrap
from pellucid.statistics.checks import binary_labels, finite_scores, probabilities
from pellucid.statistics.errors import OneClass

__all__ = [
    "Interval",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "ece",
    "log_loss",
    "patient_bootstrap",
]

_SMALLEST = float(np.finfo(np.float64).eps)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive case scores above a negative one, ties counting half.

    Args:
        scores: `(n,)`, higher means positive.
        labels: `(n,)` of 0 and 1.

    Raises:
        OneClass: all labels are the same.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    values, truth = _scored(scores, labels)
    n_positive, n_negative = _both_classes(truth)
    # twice the mid-ranks are whole numbers, so the area is exact up to its one division
    twice = int(np.rint(2 * rankdata(values)[truth == 1]).sum()) - n_positive * (n_positive + 1)
    return twice / (2 * n_positive * n_negative)


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """Area under the precision-recall curve by steps: sum of precision times gain in recall over distinct scores.

    Raises:
        OneClass: no label is 1.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    values, truth = _scored(scores, labels)
    if not truth.any():
        raise OneClass(f"None of {truth.size} labels is 1.")
    order = np.argsort(-values, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    hits = np.cumsum(truth[order])[last_of_tie]
    precision = hits / (last_of_tie + 1)
    return float(np.sum(precision * np.diff(hits, prepend=0.0)) / truth.sum())


def brier(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared difference between probability and label (Brier, 1950)."""
    values, truth = _predicted(predicted, labels)
    return float(np.mean((values - truth) ** 2))


def log_loss(predicted: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative log likelihood in nats; a certain error counts -ln(2.2e-16), about 36, not infinity."""
    values, truth = _predicted(predicted, labels)
    given = np.where(truth == 1, values, 1 - values)
    return -float(np.mean(np.log(np.maximum(given, _SMALLEST))))


def balanced_accuracy(predicted: ArrayLike, labels: ArrayLike, *, threshold: float = 0.5) -> float:
    """Mean of sensitivity and specificity, with `probability >= threshold` called positive.

    Raises:
        OneClass: all labels are the same.
    """
    values, truth = _predicted(predicted, labels)
    _both_classes(truth)
    called = values >= threshold
    return float((called[truth == 1].mean() + (~called[truth == 0]).mean()) / 2)


def ece(predicted: ArrayLike, labels: ArrayLike, *, n_bins: int = 10) -> float:
    """Expected calibration error: root mean square over bins of equal mass, less its bias (Kumar et al., 2019).

    The square is sum over bins of n_b / n * ((mean p - mean y)^2 - mean y (1 - mean y) / (n_b - 1)), clipped at zero.
    Equal probabilities share a bin and a bin holds at least two cases, so there may be fewer bins than asked for.
    """
    values, truth = _predicted(predicted, labels)
    order = np.argsort(values, kind="stable")
    edges = bin_edges(values[order], n_bins)
    sizes = np.diff(edges)
    mean_p = np.add.reduceat(values[order], edges[:-1]) / sizes
    mean_y = np.add.reduceat(truth[order], edges[:-1]) / sizes
    bias = mean_y * (1 - mean_y) / np.maximum(sizes - 1, 1)
    return float(np.sqrt(max(0.0, np.sum(sizes * ((mean_p - mean_y) ** 2 - bias)) / values.size)))


def bin_edges(ordered: NDArray[np.float64], n_bins: int) -> NDArray[np.int64]:
    """Where bins of about equal mass begin among sorted values, and the end: at most `n_bins + 1` indices.

    Equal values share a bin, and a bin holds at least two values where there are two.
    """
    wanted = np.linspace(0, ordered.size, max(1, n_bins) + 1)[1:-1].round().astype(np.int64)
    # a cut moves right past equal values, or the answer would depend on the order of the cases
    cuts = np.unique(np.searchsorted(ordered, ordered[np.maximum(wanted - 1, 0)], side="right"))
    edges = [0]
    for cut in cuts[cuts < ordered.size - 1]:
        if cut - edges[-1] >= 2:
            edges.append(int(cut))
    return np.array([*edges, ordered.size], dtype=np.int64)


def _scored(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = finite_scores(scores)
    return values, binary_labels(labels, values.size)


def _predicted(predicted: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = probabilities(predicted)
    return values, binary_labels(labels, values.size)


def _both_classes(truth: NDArray[np.float64]) -> tuple[int, int]:
    n_positive = int(truth.sum())
    if n_positive in (0, truth.size):
        raise OneClass(f"All {truth.size} labels are {int(truth[0])}.")
    return n_positive, truth.size - n_positive
