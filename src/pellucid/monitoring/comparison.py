"""A two-sample test for a look at one feature, without a guarantee over many looks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_PERMUTATIONS = 999
FEWEST = 5


def permutation_p_value(
    reference: Sequence[float],
    current: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    n_permutations: int = N_PERMUTATIONS,
) -> float | None:
    """Permutation p-value of the Kolmogorov-Smirnov distance, (1 + #{as far or farther}) / (1 + permutations).

    Exact for one look, with ties and in small samples; None where a sample has fewer than 5 values.

    Args:
        reference: `(m,)` values.
        current: `(n,) float64` values.
        rng: shuffles.
        n_permutations: how many shuffles.
    """
    if len(reference) < FEWEST or current.size < FEWEST:
        return None
    pooled = np.concatenate([np.asarray(reference, dtype=np.float64), current])
    order = np.argsort(pooled, kind="stable")
    of_reference = (order < len(reference)).astype(np.float64)
    # Both distribution functions are compared only where the next value differs.
    ends = np.append(np.flatnonzero(np.diff(pooled[order])), pooled.size - 1)
    observed = _distance(of_reference, ends, len(reference))
    shuffled = (_distance(rng.permutation(of_reference), ends, len(reference)) for _ in range(n_permutations))
    farther = sum(distance >= observed - 1e-12 for distance in shuffled)
    return float((1 + farther) / (1 + n_permutations))


def _distance(of_reference: NDArray[np.float64], ends: NDArray[np.int64], m: int) -> float:
    n = of_reference.size - m
    seen = np.cumsum(of_reference)[ends]
    return float(np.abs(seen / m - (ends + 1 - seen) / n).max())
