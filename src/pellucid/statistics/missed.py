"""How many mutated specimens the answer "negative" may reach: a bound that holds at every prevalence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pellucid.statistics.checks import open_unit, ordering_scores
from pellucid.statistics.errors import ScoresInvalid
from pellucid.statistics.exact import most_errors, upper_bound


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedBound:
    """At a given limit: `missed` of `n` mutated specimens, and the exact upper bound of their share."""

    n: int
    missed: int
    bound: float


def certify_missed(scores_of_positives: ArrayLike, *, beta: float, delta: float) -> float | None:
    """The largest limit at which at most a share beta of the mutated specimens is shown to be missed.

    With r the most such specimens that may lie below it, P(Bin(n, beta) <= r - 1) <= delta, a specimen may be answered
    where it scores less than the r-th smallest score (Neyman-Pearson umbrella: Tong, Feng and Li, Science Advances
    2018). The share grows with the limit, so every smaller limit is allowed too, whatever it was chosen by.

    Args:
        scores_of_positives: `(n,)`, one mutated specimen a patient, gated ones included as plus infinity.
        beta: the share that may be missed.
        delta: the chance that is taken of a larger one.

    Returns:
        The largest number below that score: "at most this" and "less than the score" are the same. None where there are
        too few mutated specimens to show it, `least_n(0, beta, delta)` being the least.

    Raises:
        ScoresInvalid: a score is NaN or minus infinity.
        RateInvalid: beta or delta outside (0, 1).
    """
    open_unit("beta", beta)
    scores = np.sort(ordering_scores(scores_of_positives))
    rank = int(most_errors(scores.size, beta, delta)) + 1
    if rank == 0:
        return None
    return float(np.nextafter(scores[rank - 1], -np.inf))


def missed_bound(scores_of_positives: ArrayLike, limit: float, *, delta: float) -> MissedBound:
    """The exact upper bound, with confidence 1 - delta, of the share of mutated specimens that score at most `limit`.

    Raises:
        ScoresInvalid: a score or the limit is NaN, or a score is minus infinity.
        RateInvalid: delta outside (0, 1).
    """
    scores = ordering_scores(scores_of_positives)
    if np.isnan(limit):
        raise ScoresInvalid("The limit is NaN.")
    missed = int(np.sum(scores <= limit))
    return MissedBound(n=scores.size, missed=missed, bound=upper_bound(missed, scores.size, delta))
