"""Arrays as the statistics need them, or a coded error."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.statistics.errors import (
    CountsInvalid,
    LabelsInvalid,
    ProbabilitiesInvalid,
    RateInvalid,
    ScoresInvalid,
)


def finite_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """`scores` as a finite `(n,) float64` vector with n >= 1.

    Raises:
        ProbabilitiesInvalid: it is none.
    """
    vector = np.asarray(scores, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise ProbabilitiesInvalid(f"Scores of shape {vector.shape} are no vector of cases.")
    if not np.isfinite(vector).all():
        raise ProbabilitiesInvalid(f"{int((~np.isfinite(vector)).sum())} of {vector.size} scores are NaN or infinite.")
    return vector


def probabilities(values: ArrayLike) -> NDArray[np.float64]:
    """`values` as an `(n,) float64` vector within [0, 1].

    Raises:
        ProbabilitiesInvalid: it is none.
    """
    vector = finite_scores(values)
    if vector.min() < 0 or vector.max() > 1:
        raise ProbabilitiesInvalid(f"Probabilities from {vector.min()} to {vector.max()} leave [0, 1].")
    return vector


def binary_labels(labels: ArrayLike, n: int) -> NDArray[np.float64]:
    """`labels` as an `(n,) float64` vector of zeros and ones.

    Raises:
        LabelsInvalid: another length or another value.
    """
    vector = np.asarray(labels, dtype=np.float64)
    if vector.shape != (n,):
        raise LabelsInvalid(f"Labels of shape {vector.shape} don't pair with {n} predictions.")
    if not np.isin(vector, (0.0, 1.0)).all():
        raise LabelsInvalid("A label is neither 0 nor 1.")
    return vector


def ordering_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """`scores` as an `(n,) float64` vector without NaN and minus infinity; n may be 0.

    Raises:
        ScoresInvalid: it is none.
    """
    vector = np.asarray(scores, dtype=np.float64)
    if vector.ndim != 1:
        raise ScoresInvalid(f"Scores of shape {vector.shape} are no vector of specimens.")
    if (odd := np.isnan(vector) | np.isneginf(vector)).any():
        raise ScoresInvalid(f"{int(odd.sum())} of {vector.size} scores are NaN or minus infinity.")
    return vector


def open_unit(name: str, value: float) -> float:
    """`value`, which lies strictly between 0 and 1.

    Raises:
        RateInvalid: it doesn't.
    """
    if not 0 < value < 1:
        raise RateInvalid(f"{name} is {value}; it must lie between 0 and 1.")
    return value


def counts(k: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as integers, with 0 <= k <= n everywhere.

    Raises:
        CountsInvalid: they are none.
    """
    hits, total = np.asarray(k), np.asarray(n)
    whole = np.issubdtype(hits.dtype, np.integer) and np.issubdtype(total.dtype, np.integer)
    if not whole or (hits < 0).any() or (total < 0).any() or (hits > total).any():
        raise CountsInvalid("Counts must be whole numbers with 0 <= k <= n.")
    return hits.astype(np.int64), total.astype(np.int64)
