"""How well the probability ranks: ROC and precision-recall with bands over resampled patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.evaluation.measures import Answered, Measure, Resampling, measure, resamples
from pellucid.statistics.curves import pr_curve, roc_curve
from pellucid.statistics.errors import OneClass
from pellucid.statistics.metrics import auroc, average_precision

MOST_POINTS = 200
"""Points of a curve that a report keeps; a screen shows no more."""
_GRID = np.linspace(0.0, 1.0, 51)
_MOST_BAND_RESAMPLES = 1000
_TAILS = (0.025, 0.975)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """At each `x`, the central 95 % of the resampled curves, one x at a time."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """ROC and precision-recall of the probability over all specimens with outcome and answer, gates aside.

    `roc` are points (false positive rate, true positive rate), `pr` points (recall, precision) of a step curve; both
    are empty where they can't be drawn, and the measures say why. A band is None where patients can't be resampled.
    `share_mutated` is the precision of guessing.
    """

    auroc: Measure
    average_precision: Measure
    roc: tuple[Point, ...]
    roc_band: Band | None
    pr: tuple[Point, ...]
    pr_band: Band | None
    n_mutated: int
    n_wild_type: int
    share_mutated: float | None


def describe_ranking(sample: Answered, resampling: Resampling) -> Ranking:
    """Rank the sample by its mean logit."""
    labels, logits = sample.labels, sample.logits
    n_mutated = int(labels.sum())
    both = 0 < n_mutated < len(sample)
    roc_band, pr_band = _bands(sample, resampling) if both else (None, None)
    return Ranking(
        auroc=measure(lambda rows: auroc(logits[rows], labels[rows]), labels, sample.patients, resampling),
        average_precision=measure(
            lambda rows: average_precision(logits[rows], labels[rows]), labels, sample.patients, resampling
        ),
        roc=_roc_points(logits, labels) if both else (),
        roc_band=roc_band,
        pr=_pr_points(logits, labels) if both else (),
        pr_band=pr_band,
        n_mutated=n_mutated,
        n_wild_type=len(sample) - n_mutated,
        share_mutated=n_mutated / len(sample) if len(sample) else None,
    )


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """At most `most` of the points, the ends among them, evenly by index."""
    if len(points) <= most:
        return tuple(points)
    chosen = np.unique(np.linspace(0, len(points) - 1, most).round().astype(int))
    return tuple(points[index] for index in chosen)


def _roc_points(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[Point, ...]:
    curve = roc_curve(logits, labels)
    return thinned(list(zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)))


def _pr_points(logits: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[Point, ...]:
    curve = pr_curve(logits, labels)
    return thinned(list(zip(curve.recall, curve.precision, strict=True)))


def _bands(sample: Answered, resampling: Resampling) -> tuple[Band | None, Band | None]:
    if len(set(sample.patients)) < 2:
        return None, None
    fewer = Resampling(n=min(resampling.n, _MOST_BAND_RESAMPLES), seed=resampling.seed)
    roc, pr = [], []
    for rows in resamples(sample.patients, fewer):
        try:
            found = roc_curve(sample.logits[rows], sample.labels[rows])
        except OneClass:
            continue
        roc.append(_highest_up_to(found.false_positive_rate, found.true_positive_rate))
        steps = pr_curve(sample.logits[rows], sample.labels[rows])
        # the precision of the first threshold that reaches the recall, as the steps of the area have it
        at = np.minimum(np.searchsorted(steps.recall, _GRID, side="left"), len(steps.recall) - 1)
        pr.append(np.asarray(steps.precision)[at])
    if len(roc) < fewer.n / 2:
        return None, None
    return _band(roc), _band(pr)


def _highest_up_to(x: Sequence[float], y: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(y, dtype=np.float64)[np.searchsorted(x, _GRID, side="right") - 1]


def _band(curves: list[NDArray[np.float64]]) -> Band:
    low, high = np.quantile(np.stack(curves), _TAILS, axis=0)
    return Band(x=tuple(_GRID.tolist()), low=tuple(low.tolist()), high=tuple(high.tolist()))
