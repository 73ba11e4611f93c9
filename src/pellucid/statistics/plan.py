"""Where a certification begins: fixed from tuning specimens, before a certification label is seen."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm

from pellucid.statistics.checks import counts, open_unit, ordering_scores, probabilities
from pellucid.statistics.errors import RateInvalid, ScoresInvalid
from pellucid.statistics.exact import error_table, lower_bounds, max_errors, most_errors

_FIFTEEN = norm.ppf((np.arange(15) + 0.5) / 15)
_FIVE = norm.ppf((np.arange(5) + 0.5) / 5)
_LEAST_RISK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePlan:
    """The limits to be tested for one answer and the one to begin with.

    Attributes:
        grid: limits in rising order; the region of a limit holds the specimens that score at most that. Empty where no
            tuning specimen scores low enough, and then nothing can be certified.
        start: index of the first limit to be tested.
        predicted_power: the chance that the first limit is accepted, as tuning predicts it.
        coverage: predicted share of all specimens in each region.
        risk: predicted share of wrong answers in each region.
        base_risk: predicted share of all specimens, gated ones included, for which the answer would be wrong.
        n_tuning: tuning specimens that the predictions rest on.
    """

    grid: tuple[float, ...]
    start: int
    predicted_power: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    base_risk: float
    n_tuning: int


def plan_side(
    tuning_scores: ArrayLike,
    tuning_risk: ArrayLike,
    *,
    n: int,
    alpha: float,
    delta: float,
    highest: float,
    n_grid: int = 200,
    prevalence_max: float | None = None,
    missed: tuple[float, float] | None = None,
) -> SidePlan:
    """Plan the test of one answer: which limits, and which of them first.

    The grid has quantiles of the tuning scores that are finite, linearly interpolated, so that few tuning specimens
    don't make it coarse; coverage and risk are interpolated likewise. It ends at `highest` or at the largest tuning
    score: no region reaches beyond what tuning has seen.

    The first limit to be tested is the one that is most likely to be accepted, on the average of two suppositions: that
    the risk is as predicted, and that its odds are a factor e smaller. With the first alone, a model whose
    probabilities are too cautious would be tested only where it is surest, on too few specimens. A bad prediction costs
    coverage, never validity.

    Args:
        tuning_scores: `(n_tuning,)`, smaller is more certainly the answer; infinite for a specimen that fails a gate.
        tuning_risk: `(n_tuning,)`, each one's calibrated probability that the answer is wrong.
        n: how many certification specimens there will be, gated ones included.
        alpha: the share of wrong answers that is allowed.
        delta: what the claim may spend.
        highest: no limit may exceed it.
        n_grid: number of limits.
        prevalence_max: plan for `certify_up_to_prevalence` instead of `certify_predictive_value`; the grid is the same.
        missed: beta and delta of a `certify_missed` that the limit has to satisfy as well.

    Raises:
        ScoresInvalid: scores are NaN or minus infinity, or don't pair with the risks; `highest` is not finite.
        ProbabilitiesInvalid: a risk is no probability.
        RateInvalid: alpha, delta or the prevalence outside (0, 1), or no grid.
        CountsInvalid: n is negative.
    """
    open_unit("alpha", alpha)
    counts(0, n)
    scores = ordering_scores(tuning_scores)
    risks = probabilities(tuning_risk) if np.size(tuning_risk) else np.zeros(0)
    if scores.shape != risks.shape:
        raise ScoresInvalid(f"{scores.size} scores don't pair with {risks.size} risks.")
    if not np.isfinite(highest):
        raise ScoresInvalid(f"The highest limit allowed is {highest}.")
    if n_grid < 1:
        raise RateInvalid(f"A grid of {n_grid} limits was asked for.")
    order = np.lexsort((risks, scores))
    passed = order[np.isfinite(scores[order])]
    grid = _grid(scores[passed], highest, n_grid)
    coverage, risk = _predicted(grid, scores[passed], risks[passed], scores.size)
    base = math.fsum(risks) / risks.size if risks.size else 1.0

    def power(supposed: NDArray[np.float64]) -> NDArray[np.float64]:
        return acceptance(
            n, coverage, supposed, base, alpha=alpha, delta=delta, prevalence_max=prevalence_max, missed=missed
        )

    as_predicted = power(risk)
    start = int(np.argmax(as_predicted + power(risk / (risk + (1 - risk) * np.e)))) if grid.size else 0
    return SidePlan(
        grid=tuple(grid.tolist()),
        start=start,
        predicted_power=float(as_predicted[start]) if grid.size else 0.0,
        coverage=tuple(coverage.tolist()),
        risk=tuple(risk.tolist()),
        base_risk=base,
        n_tuning=scores.size,
    )


def acceptance(
    n: int,
    coverage: NDArray[np.float64],
    risk: NDArray[np.float64],
    base_risk: float,
    *,
    alpha: float,
    delta: float,
    prevalence_max: float | None = None,
    missed: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """The chance that each limit, tested alone on n specimens, is accepted: `(m,) float64`.

    How many specimens fall into a region is itself random: the chance is averaged over 15 quantiles of that number's
    normal approximation; over 5 for a claim up to a prevalence, which takes longer.

    Args:
        n: number of specimens.
        coverage: `(m,)`, share of the specimens in each region.
        risk: `(m,)`, share of wrong answers in each region.
        base_risk: share of wrong answers if all specimens were given the answer.
        alpha: the share of wrong answers that is allowed.
        delta: what the claim may spend.
        prevalence_max: up to which prevalence, for a claim that says so.
        missed: beta and delta of a bound on missed positives; its chance is taken as independent.
    """
    risk = np.clip(risk, _LEAST_RISK, 1.0)
    n_wrong = round(n * base_risk)
    share_wrong = np.clip(coverage * risk / max(base_risk, _LEAST_RISK), 0.0, 1.0)
    if prevalence_max is None:
        inside = _spread(n, coverage, _FIFTEEN)
        most = error_table(n.bit_length(), alpha, delta)[inside]
        chance = binom.cdf(most, inside, risk[:, None]).mean(axis=1)
    else:
        open_unit("prevalence_max", prevalence_max)
        share_right = np.clip(coverage * (1 - risk) / max(1 - base_risk, _LEAST_RISK), 0.0, 1.0)
        least = lower_bounds(_spread(n - n_wrong, share_right, _FIVE), n - n_wrong, delta / 2)
        allowed = alpha / (1 - alpha) * (1 - prevalence_max) / prevalence_max * least
        most = most_errors(n_wrong, np.minimum(allowed, 1.0), delta / 2)
        chance = binom.cdf(most, n_wrong, share_wrong[:, None]).mean(axis=1)
    if missed is not None:
        chance = chance * binom.cdf(max_errors(n_wrong, *missed), n_wrong, share_wrong)
    return np.asarray(chance, dtype=np.float64)


def _spread(n: int, share: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.int64]:
    mean = n * share[:, None]
    draws = np.rint(mean + nodes * np.sqrt(mean * (1 - share[:, None])))
    return np.asarray(np.clip(draws, 0, n), dtype=np.int64)


def _grid(passed: NDArray[np.float64], highest: float, n_grid: int) -> NDArray[np.float64]:
    if passed.size == 0 or passed[0] > highest:
        return np.zeros(0)
    # the level of `highest` itself, from the last of the scores that equal it
    reach = np.interp(highest, passed, np.linspace(0.0, 1.0, passed.size)) if passed[-1] > highest else 1.0
    levels = np.linspace(0.0, float(reach), n_grid)[: n_grid - 1]
    last = min(highest, passed[-1])
    return np.unique(np.append(np.minimum(np.quantile(passed, levels), last), last))


def _predicted(
    grid: NDArray[np.float64], passed: NDArray[np.float64], risks: NDArray[np.float64], n_tuning: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if grid.size == 0:
        return np.zeros(0), np.zeros(0)
    values, first = np.unique(passed, return_index=True)
    last = np.append(first[1:], passed.size)
    inside = np.interp(grid, values, last.astype(np.float64))
    wrong = np.interp(grid, values, np.cumsum(risks)[last - 1])
    return inside / n_tuning, np.clip(wrong / inside, 0.0, 1.0)
