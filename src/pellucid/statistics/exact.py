"""Exact bounds on the share behind k of n, and what few errors can show (Clopper and Pearson, Biometrika 1934)."""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binom

from pellucid.statistics.checks import counts, open_unit

_MOST = 10_000_000


def clopper_pearson(k: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a share, `(low, high)`; (0, 1) where n is 0.

    Raises:
        CountsInvalid: not 0 <= k <= n.
        RateInvalid: `level` outside (0, 1).
    """
    delta = (1 - open_unit("level", level)) / 2
    return lower_bound(k, n, delta), upper_bound(k, n, delta)


def upper_bound(k: int, n: int, delta: float) -> float:
    """The largest share that k of n don't contradict: P(Bin(n, bound) <= k) = delta; 1 where k is n.

    Raises:
        CountsInvalid: not 0 <= k <= n.
        RateInvalid: `delta` outside (0, 1).
    """
    return float(upper_bounds(k, n, delta))


def lower_bound(k: int, n: int, delta: float) -> float:
    """The smallest share that k of n don't contradict: P(Bin(n, bound) >= k) = delta; 0 where k is 0.

    Raises:
        CountsInvalid: not 0 <= k <= n.
        RateInvalid: `delta` outside (0, 1).
    """
    return float(lower_bounds(k, n, delta))


def upper_bounds(k: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """`upper_bound` of every element of integer arrays that broadcast; `float64`."""
    open_unit("delta", delta)
    hits, total = counts(k, n)
    bound = beta.isf(delta, hits + 1, np.maximum(total - hits, 1))
    return np.asarray(np.where(hits == total, 1.0, bound), dtype=np.float64)


def lower_bounds(k: ArrayLike, n: ArrayLike, delta: float) -> NDArray[np.float64]:
    """`lower_bound` of every element of integer arrays that broadcast; `float64`."""
    open_unit("delta", delta)
    hits, total = counts(k, n)
    bound = beta.ppf(delta, np.maximum(hits, 1), total - hits + 1)
    return np.asarray(np.where(hits == 0, 0.0, bound), dtype=np.float64)


def max_errors(n: int, alpha: float, delta: float) -> int:
    """The most errors among n that still show a share of at most alpha: max k with P(Bin(n, alpha) <= k) <= delta.

    Returns:
        -1 where n is too small to show it even without an error.

    Raises:
        CountsInvalid: n is negative.
        RateInvalid: alpha or delta outside (0, 1).
    """
    open_unit("alpha", alpha)
    return int(most_errors(n, alpha, delta))


def most_errors(n: ArrayLike, alpha: ArrayLike, delta: float) -> NDArray[np.int64]:
    """`max_errors` of every element of arrays that broadcast: `n` of integers, `alpha` within [0, 1]; `int64`."""
    open_unit("delta", delta)
    _, total = counts(0, n)
    trials, rate = np.broadcast_arrays(total, np.asarray(alpha, dtype=np.float64))
    # the quantile may be one off in its last bit; the tail itself decides
    most = np.minimum(np.nan_to_num(binom.ppf(delta, trials, rate), nan=0.0) + 1, trials)
    while True:
        too_many = (most >= 0) & (binom.cdf(most, trials, rate) > delta)
        if not too_many.any():
            return np.asarray(most, dtype=np.int64)
        most = np.where(too_many, most - 1, most)


@lru_cache(maxsize=32)
def error_table(n_bits: int, alpha: float, delta: float) -> NDArray[np.int64]:
    """`max_errors` of every number of `n_bits` bits: `(2**n_bits,) int64`, read-only."""
    open_unit("alpha", alpha)
    table = most_errors(np.arange(1 << n_bits), alpha, delta)
    table.flags.writeable = False
    return table


def least_n(errors: int, alpha: float, delta: float) -> int:
    """How many there must be at least, `errors` of them wrong, to show a share of at most alpha.

    Raises:
        CountsInvalid: `errors` is negative, or more than ten million would be needed.
        RateInvalid: alpha or delta outside (0, 1).
    """
    open_unit("alpha", alpha)
    open_unit("delta", delta)
    counts(errors, _MOST)
    low, high = errors, errors + 1
    while binom.cdf(errors, high, alpha) > delta:
        low, high = high, 2 * high
        counts(high, _MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if binom.cdf(errors, middle, alpha) > delta else (low, middle)
    return high
