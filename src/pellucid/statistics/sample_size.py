"""How many specimens a certification that failed would probably have taken."""

import numpy as np
from numpy.typing import ArrayLike

from pellucid.statistics.checks import binary_labels, open_unit, ordering_scores
from pellucid.statistics.plan import SidePlan, acceptance

MOST = 100_000


def shortfall(
    plan: SidePlan,
    scores: ArrayLike,
    wrong: ArrayLike,
    *,
    alpha: float,
    delta: float,
    power: float = 0.8,
    prevalence_max: float | None = None,
    missed: tuple[float, float] | None = None,
) -> int | None:
    """Estimate how many specimens, in all, a new certification would need to accept a first limit.

    For each limit the coverage c and risk r are pooled: with n_i of N certification specimens in the region, k_i of
    them wrong, and m tuning specimens with predicted coverage c_i and risk r_i,

        c = (n_i + m c_i) / (N + m),    r = (k_i + m c_i r_i) / (n_i + m c_i).

    Of M new specimens about c M fall into the region, and the limit is accepted where at most `max_errors` of them are
    wrong; its chance is a binomial tail at r (see `plan.acceptance`). The answer is the smallest M, within 1 %, at
    which some limit's chance reaches `power`. Where r is half of alpha at a coverage c that takes, at power .8 and
    delta .025, 515 / c specimens for alpha .05 and 255 / c for .10.

    It is an estimate from the same few specimens and promises nothing; they may be certified on again only at the
    price of a part of delta.

    Args:
        plan: as certified.
        scores: as certified; may be empty, and then tuning alone speaks.
        wrong: as certified.
        alpha: as certified.
        delta: as certified.
        power: the chance of success that is asked for.
        prevalence_max: as certified; None for a plain predictive value.
        missed: beta and delta of a `certify_missed` that the limit has to satisfy as well.

    Returns:
        None where 100,000 would not do: the model's risk is too near the target or above it.

    Raises:
        ScoresInvalid: a score is NaN or minus infinity.
        LabelsInvalid: labels other than 0 and 1, or not as many as scores.
        RateInvalid: alpha, delta or power outside (0, 1).
    """
    open_unit("alpha", alpha)
    open_unit("delta", delta)
    open_unit("power", power)
    values = ordering_scores(scores)
    truth = binary_labels(wrong, values.size)
    if not plan.grid:
        return None
    below = values[:, None] <= np.asarray(plan.grid)
    predicted = plan.n_tuning * np.asarray(plan.coverage)
    inside = below.sum(axis=0) + predicted
    risk = ((below & (truth == 1)[:, None]).sum(axis=0) + predicted * np.asarray(plan.risk)) / inside
    coverage = inside / (values.size + plan.n_tuning)
    base = float((truth.sum() + plan.n_tuning * plan.base_risk) / (values.size + plan.n_tuning))
    if risk.min() >= alpha and prevalence_max is None:
        return None

    def enough(n: int) -> bool:
        chance = acceptance(
            n, coverage, risk, base, alpha=alpha, delta=delta, prevalence_max=prevalence_max, missed=missed
        )
        return bool(chance.max() >= power)

    low, high = 0, 8
    while not enough(high):
        if high == MOST:
            return None
        low, high = high, min(2 * high, MOST)
    # the chance rises in small sawteeth: an answer within 1 % is as exact as the estimate deserves
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
