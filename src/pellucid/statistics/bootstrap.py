"""Intervals by resampling patients, the unit that is exchangeable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.core.seeds import generator
from pellucid.statistics.checks import binary_labels, finite_scores
from pellucid.statistics.errors import BootstrapImpossible, LabelsInvalid, OneClass

Metric = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""A number from predictions `(n,)` and labels `(n,)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number and its interval.

    Attributes:
        estimate: on all cases.
        low: lower end of the central interval.
        high: its upper end.
        level: how often such an interval holds the truth.
        n_patients: how many patients were resampled.
        n_resamples: resamples that the interval rests on.
        n_undefined: resamples left out, as the metric is undefined on them: most often they held one class only.
    """

    estimate: float
    low: float
    high: float
    level: float
    n_patients: int
    n_resamples: int
    n_undefined: int


def patient_bootstrap(
    metric: Metric,
    predicted: ArrayLike,
    labels: ArrayLike,
    patients: Sequence[str],
    *,
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap of a metric, drawing whole patients with replacement (Efron and Tibshirani, 1993).

    Args:
        metric: one of `pellucid.statistics.metrics`, or any such function.
        predicted: `(n,)`, what the metric takes.
        labels: `(n,)` of 0 and 1.
        patients: `(n,)`, whose case each is; a patient's cases stay together.
        seed: the same seed gives the same interval, whatever the order of the cases.
        n_resamples: at least 100.
        level: in (0, 1).

    Raises:
        LabelsInvalid: labels or patients don't pair with the predictions.
        BootstrapImpossible: fewer than 2 patients or 100 resamples, a level outside (0, 1), or more than half of the
            resamples hold one class only.
        OneClass: all cases are of one class and the metric needs both.
    """
    values = finite_scores(predicted)
    truth = binary_labels(labels, values.size)
    groups = _rows_by_patient(patients, values, truth)
    if len(groups) < 2 or n_resamples < 100 or not 0 < level < 1:
        raise BootstrapImpossible(f"{len(groups)} patients, {n_resamples} resamples and level {level} were given.")
    estimate = metric(values, truth)
    rng = generator("patient_bootstrap", seed)
    drawn = []
    for _ in range(n_resamples):
        rows = np.concatenate([groups[index] for index in rng.integers(len(groups), size=len(groups))])
        try:
            drawn.append(metric(values[rows], truth[rows]))
        except OneClass:
            continue
    if len(drawn) < n_resamples / 2:
        raise BootstrapImpossible(f"{n_resamples - len(drawn)} of {n_resamples} resamples hold one class only.")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        estimate=estimate,
        low=float(low),
        high=float(high),
        level=level,
        n_patients=len(groups),
        n_resamples=len(drawn),
        n_undefined=n_resamples - len(drawn),
    )


def _rows_by_patient(
    patients: Sequence[str], values: NDArray[np.float64], truth: NDArray[np.float64]
) -> list[NDArray[np.int64]]:
    names = np.asarray(patients, dtype=np.str_)
    if names.shape != values.shape:
        raise LabelsInvalid(f"{names.size} patients don't pair with {values.size} predictions.")
    # by name, then by value: the order of the table makes no difference
    order = np.lexsort((truth, values, names))
    starts = np.flatnonzero(names[order][1:] != names[order][:-1]) + 1
    return [rows.astype(np.int64) for rows in np.split(order, starts)]
