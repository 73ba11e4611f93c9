"""Counts, rates with their intervals, and the spread of a measured number."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many of `total` have the value `name`."""

    name: str
    n: int
    total: int

    @property
    def share(self) -> float:
        """The share, 0 of none."""
        return self.n / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`k` of `n`, with the 95% interval of Wilson (1927) for the rate behind it; of none, it may be anything."""

    k: int
    n: int
    share: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Quantiles of `n` values (linear interpolation), and their mean and standard deviation (n - 1; None of one)."""

    n: int
    low: float
    lower_quartile: float
    median: float
    upper_quartile: float
    high: float
    minimum: float
    maximum: float
    mean: float
    sd: float | None


def rate(k: int, n: int) -> Rate:
    """The rate of `k` of `n`."""
    if n == 0:
        return Rate(k=k, n=n, share=None, low=0.0, high=1.0)
    share, shrink = k / n, 1.0 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / shrink
    reach = Z_95 / shrink * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return Rate(k=k, n=n, share=share, low=max(0.0, centre - reach), high=min(1.0, centre + reach))


def count(names: Iterable[str]) -> tuple[Count, ...]:
    """How often each name occurs, the most frequent first."""
    tally = Counter(names)
    total = tally.total()
    ordered = sorted(tally.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Count(name=name, n=n, total=total) for name, n in ordered)


def spread(values: Iterable[float]) -> Spread | None:
    """The spread of the finite values, with `low` and `high` at 5 and 95%; None of no value."""
    given = np.array(list(values), dtype=np.float64)
    given = given[np.isfinite(given)]
    if given.size == 0:
        return None
    low, lower, median, upper, high = (float(value) for value in np.quantile(given, [0.05, 0.25, 0.5, 0.75, 0.95]))
    return Spread(
        n=given.size,
        low=low,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        high=high,
        minimum=float(given.min()),
        maximum=float(given.max()),
        mean=float(given.mean()),
        sd=float(given.std(ddof=1)) if given.size > 1 else None,
    )
