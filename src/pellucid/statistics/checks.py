"""Arrays as the statistics need them, or a coded error."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.statistics.errors import LabelsInvalid, ProbabilitiesInvalid


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
