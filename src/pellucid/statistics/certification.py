"""Which specimens may get an answer without a person, with a guarantee that holds for every finite number of them.

Learn then test (Angelopoulos et al., Annals of Applied Statistics 2025) with exact binomial tails and a fixed sequence
of limits. For a limit chosen without the certification labels, the errors among the n specimens in its region are
Bin(n, risk), so P(Bin(n, alpha) <= errors) <= delta happens with probability delta at most where the risk exceeds
alpha. Limits are tested upwards from the planned start until one fails; in a fixed sequence a true rejection is the
first error that can be made, so all accepted limits hold together with probability 1 - delta. Neither a calibrated
model nor a risk that rises with the score is assumed, only that patients are an independent sample of those to come.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from pellucid.statistics.checks import binary_labels, open_unit, ordering_scores
from pellucid.statistics.errors import ScoresInvalid
from pellucid.statistics.exact import lower_bounds, upper_bound, upper_bounds
from pellucid.statistics.missed import MissedBound, certify_missed, missed_bound
from pellucid.statistics.plan import SidePlan, plan_side
from pellucid.statistics.sample_size import shortfall

__all__ = [
    "MissedBound",
    "SidePlan",
    "SideResult",
    "certify_missed",
    "certify_predictive_value",
    "certify_up_to_prevalence",
    "common_limit",
    "missed_bound",
    "plan_side",
    "result_at",
    "shortfall",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """What certification says about one answer.

    The guarantee is that with probability 1 - delta the risk is at most alpha at the limit. `bound` describes the
    specimens seen there: it is exact for a limit that is named beforehand, and never above alpha.

    Attributes:
        limit: the largest accepted limit; None where the first one failed.
        accepted: first and last index of the accepted limits of the plan's grid, all of which hold together.
        n: specimens in the region of the limit, or of the planned start where none was accepted.
        errors: how many of them are wrong.
        bound: exact upper bound of the share of wrong answers at the limit, None without one. The predictive value is
            at least 1 - bound.
        coverage: share of all specimens in the region of the limit; 0 without one.
    """

    limit: float | None
    accepted: tuple[int, int] | None
    n: int
    errors: int
    bound: float | None
    coverage: float


def certify_predictive_value(
    plan: SidePlan, scores: ArrayLike, wrong: ArrayLike, *, alpha: float, delta: float
) -> SideResult:
    """Find the largest limit at which at most a share alpha of the answers is shown to be wrong.

    Args:
        plan: made without the labels of these specimens.
        scores: `(n,)`, one specimen a patient, smaller is more certainly the answer; infinite where a gate fails.
        wrong: `(n,)` of 0 and 1, where the answer would be wrong.
        alpha: the share of wrong answers that is allowed: 1 - NPV or 1 - PPV.
        delta: the chance that is taken of accepting a limit with a larger share.

    Raises:
        ScoresInvalid: a score is NaN or minus infinity.
        LabelsInvalid: labels other than 0 and 1, or not as many as scores.
        RateInvalid: alpha or delta outside (0, 1).
    """
    return _certify(plan, scores, wrong, alpha=alpha, delta=delta, prevalence_max=None)


def certify_up_to_prevalence(
    plan: SidePlan, scores: ArrayLike, labels: ArrayLike, *, alpha: float, delta: float, prevalence_max: float
) -> SideResult:
    """Find the largest limit at which NPV >= 1 - alpha is shown for every prevalence up to `prevalence_max`.

    With U the exact upper bound of the share of mutated specimens in the region and L the exact lower bound of that of
    the wild-type ones, delta / 2 each, NPV >= 1 / (1 + prevalence / (1 - prevalence) * U / L). It assumes that mutated
    specimens look alike at every prevalence, and wild-type ones too.

    Args:
        plan: made by `plan_side` with the same `prevalence_max`, without the labels of these specimens.
        scores: see `certify_predictive_value`; for the negative answer.
        labels: `(n,)` of 0 and 1, where 1 is mutated.
        alpha: 1 - NPV that is allowed.
        delta: the chance that is taken of accepting a limit with a lower NPV at some such prevalence.
        prevalence_max: in (0, 1).

    Returns:
        `bound` is the upper bound of 1 - NPV at `prevalence_max`.

    Raises:
        ScoresInvalid, LabelsInvalid, RateInvalid: see `certify_predictive_value`.
    """
    open_unit("prevalence_max", prevalence_max)
    return _certify(plan, scores, labels, alpha=alpha, delta=delta, prevalence_max=prevalence_max)


def result_at(
    plan: SidePlan,
    result: SideResult,
    scores: ArrayLike,
    wrong: ArrayLike,
    *,
    limit: float,
    alpha: float,
    delta: float,
    prevalence_max: float | None = None,
) -> SideResult:
    """The same certification at its largest accepted limit that is at most `limit`, as another claim may demand.

    Args:
        plan: as certified.
        result: what certification said.
        scores: as certified.
        wrong: as certified.
        limit: no limit above this; infinities are allowed.
        alpha: as certified.
        delta: as certified.
        prevalence_max: as certified; None for `certify_predictive_value`.

    Returns:
        Without a limit where all accepted ones lie above `limit`, or none was accepted.

    Raises:
        ScoresInvalid: a score or `limit` is NaN, or a score is minus infinity.
        LabelsInvalid: labels other than 0 and 1, or not as many as scores.
    """
    regions = _Regions.of(plan, scores, wrong)
    return _result(plan, _up_to(plan, result.accepted, limit), regions, alpha, delta, prevalence_max)


def common_limit(plan: SidePlan, results: Iterable[SideResult], *, at_most: float = np.inf) -> float | None:
    """The largest limit of the grid that every result accepts and that is at most `at_most`; None without one.

    Args:
        plan: any of the plans behind the results; they must share one grid.
        results: at least one.
        at_most: what a bound on missed positives allows, see `certify_missed`.
    """
    ranges = [result.accepted for result in results]
    if not ranges or None in ranges:
        return None
    known = [accepted for accepted in ranges if accepted is not None]
    shared = max(first for first, _ in known), min(last for _, last in known)
    accepted = _up_to(plan, shared, at_most)
    return None if accepted is None else plan.grid[accepted[1]]


@dataclass(frozen=True, slots=True)
class _Regions:
    """Specimens and wrong ones among them, in the region of each limit, `(m,)`, and in all."""

    inside: NDArray[np.int64]
    errors: NDArray[np.int64]
    n: int
    n_wrong: int

    @classmethod
    def of(cls, plan: SidePlan, scores: ArrayLike, wrong: ArrayLike) -> "_Regions":
        values = ordering_scores(scores)
        truth = binary_labels(wrong, values.size)
        size = len(plan.grid)
        # the first limit whose region holds the specimen; beyond the grid it is in none
        first = np.searchsorted(np.asarray(plan.grid), values, side="left")
        inside = np.bincount(first, minlength=size + 1)[:size]
        errors = np.bincount(first[truth == 1], minlength=size + 1)[:size]
        return cls(np.cumsum(inside), np.cumsum(errors), values.size, int(truth.sum()))


def _certify(
    plan: SidePlan, scores: ArrayLike, wrong: ArrayLike, *, alpha: float, delta: float, prevalence_max: float | None
) -> SideResult:
    open_unit("alpha", alpha)
    open_unit("delta", delta)
    regions = _Regions.of(plan, scores, wrong)
    tested = slice(plan.start, None)
    if prevalence_max is None:
        passes = np.asarray(binom.cdf(regions.errors[tested], regions.inside[tested], alpha) <= delta)
    else:
        passes = _risks_at_prevalence(regions, tested, delta, prevalence_max) <= alpha
    return _result(plan, _run_of_passes(passes, plan.start), regions, alpha, delta, prevalence_max)


def _run_of_passes(passes: NDArray[np.bool_], start: int) -> tuple[int, int] | None:
    if passes.size == 0 or not passes[0]:
        return None
    failures = np.flatnonzero(~passes)
    length = int(failures[0]) if failures.size else passes.size
    return start, start + length - 1


def _up_to(plan: SidePlan, accepted: tuple[int, int] | None, limit: float) -> tuple[int, int] | None:
    if np.isnan(limit):
        raise ScoresInvalid("The limit is NaN.")
    if accepted is None:
        return None
    last = min(accepted[1], int(np.searchsorted(np.asarray(plan.grid), limit, side="right")) - 1)
    return (accepted[0], last) if last >= accepted[0] else None


def _risks_at_prevalence(regions: _Regions, at: slice, delta: float, prevalence: float) -> NDArray[np.float64]:
    errors = regions.errors[at]
    most = upper_bounds(errors, regions.n_wrong, delta / 2)
    least = lower_bounds(regions.inside[at] - errors, regions.n - regions.n_wrong, delta / 2)
    odds = prevalence / (1 - prevalence) * most
    return np.asarray(odds / (odds + least), dtype=np.float64)


def _result(
    plan: SidePlan,
    accepted: tuple[int, int] | None,
    regions: _Regions,
    alpha: float,
    delta: float,
    prevalence_max: float | None,
) -> SideResult:
    index = plan.start if accepted is None else accepted[1]
    n, errors = (int(regions.inside[index]), int(regions.errors[index])) if plan.grid else (0, 0)
    bound = None
    if accepted is not None and prevalence_max is None:
        # bound and test are one inequality; the last bit of the bound's quantile may say otherwise
        bound = min(alpha, upper_bound(errors, n, delta))
    elif accepted is not None and prevalence_max is not None:
        bound = float(_risks_at_prevalence(regions, slice(index, index + 1), delta, prevalence_max)[0])
    return SideResult(
        limit=None if accepted is None else plan.grid[index],
        accepted=accepted,
        n=n,
        errors=errors,
        bound=bound,
        coverage=0.0 if accepted is None else n / regions.n,
    )
