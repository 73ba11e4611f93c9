import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pellucid.statistics.certification import (
    certify_predictive_value,
    certify_up_to_prevalence,
    common_limit,
    result_at,
)
from pellucid.statistics.errors import LabelsInvalid, RateInvalid, ScoresInvalid
from pellucid.statistics.exact import lower_bound, upper_bound
from pellucid.statistics.plan import SidePlan

GRID = (-3.0, -2.0, -1.0, 0.0)
specimens = st.lists(
    st.tuples(st.sampled_from([-3.5, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 1.0, np.inf]), st.booleans()),
    max_size=120,
)
rates = st.floats(0.02, 0.6)


def plan_of(grid=GRID, start=0):
    return SidePlan(
        grid=grid,
        start=start,
        predicted_power=0.5,
        coverage=tuple(np.linspace(0.1, 0.5, len(grid))),
        risk=(0.05,) * len(grid),
        base_risk=0.3,
        n_tuning=40,
    )


def split(pairs):
    scores, wrong = ([row[column] for row in pairs] for column in (0, 1))
    return np.array(scores, dtype=np.float64), np.array(wrong, dtype=np.int64)


def mixed(n_right, n_wrong, score):
    return [(score, False)] * n_right + [(score, True)] * n_wrong


@given(specimens, st.integers(0, 3), rates, rates)
def test_limits_are_accepted_from_the_start_until_the_first_that_fails(pairs, start, alpha, delta):
    scores, wrong = split(pairs)
    result = certify_predictive_value(plan_of(start=start), scores, wrong, alpha=alpha, delta=delta)
    inside = [int((scores <= limit).sum()) for limit in GRID]
    errors = [int(wrong[scores <= limit].sum()) for limit in GRID]
    good = [binom.cdf(k, n, alpha) <= delta for k, n in zip(errors, inside, strict=True)]
    if not good[start]:
        assert (result.limit, result.accepted, result.bound, result.coverage) == (None, None, None, 0)
        assert (result.n, result.errors) == (inside[start], errors[start])
        return
    first, last = result.accepted
    assert first == start
    assert all(good[first : last + 1])
    assert last == len(GRID) - 1 or not good[last + 1]
    assert result.limit == GRID[last]
    assert (result.n, result.errors) == (inside[last], errors[last])
    assert result.coverage == inside[last] / scores.size
    assert result.bound == pytest.approx(upper_bound(errors[last], inside[last], delta))
    assert result.bound <= alpha


@given(specimens, rates, rates, st.randoms(use_true_random=False))
def test_the_order_of_the_specimens_makes_no_difference(pairs, alpha, delta, random):
    moved = random.sample(pairs, len(pairs))
    for certify, more in ((certify_predictive_value, {}), (certify_up_to_prevalence, {"prevalence_max": 0.3})):
        one, other = (certify(plan_of(), *split(rows), alpha=alpha, delta=delta, **more) for rows in (pairs, moved))
        assert one == other


@given(specimens, rates, rates, st.floats(0.05, 0.9))
def test_the_prevalence_robust_bound_follows_its_formula(pairs, alpha, delta, prevalence):
    scores, labels = split(pairs)
    result = certify_up_to_prevalence(plan_of(), scores, labels, alpha=alpha, delta=delta, prevalence_max=prevalence)
    if result.limit is None:
        return
    below = scores <= result.limit
    most = upper_bound(int(labels[below].sum()), int(labels.sum()), delta / 2)
    least = lower_bound(int((1 - labels[below]).sum()), int((1 - labels).sum()), delta / 2)
    npv = 1 / (1 + prevalence / (1 - prevalence) * most / least)
    assert result.bound == pytest.approx(1 - npv)
    assert result.bound <= alpha
    assert (result.n, result.errors) == (int(below.sum()), int(labels[below].sum()))


def test_a_failing_limit_hides_good_ones_beyond_it():
    pairs = mixed(100, 0, -3.0) + mixed(0, 20, -2.0) + mixed(2000, 0, -1.0)
    scores, wrong = split(pairs)
    result = certify_predictive_value(plan_of(), scores, wrong, alpha=0.05, delta=0.05)
    assert (result.limit, result.accepted) == (-3.0, (0, 0))
    later = certify_predictive_value(plan_of(start=2), scores, wrong, alpha=0.05, delta=0.05)
    assert (later.limit, later.accepted) == (0.0, (2, 3))


def test_limits_below_the_start_are_not_claimed():
    scores, wrong = split(mixed(500, 0, -3.0))
    result = certify_predictive_value(plan_of(start=2), scores, wrong, alpha=0.05, delta=0.05)
    assert result.accepted == (2, 3)
    lower = result_at(plan_of(start=2), result, scores, wrong, limit=-1.5, alpha=0.05, delta=0.05)
    assert lower.limit is None


def test_ties_at_a_limit_belong_to_its_region_as_a_whole():
    scores, wrong = split(mixed(59, 0, -3.0) + mixed(0, 1, np.nextafter(-3.0, 0)))
    result = certify_predictive_value(plan_of(), scores, wrong, alpha=0.05, delta=0.05)
    assert (result.limit, result.n, result.errors) == (-3.0, 59, 0)
    scores, wrong = split(mixed(59, 1, -3.0))
    assert certify_predictive_value(plan_of(), scores, wrong, alpha=0.05, delta=0.05).n == 60


def test_gated_specimens_count_in_the_coverage_only():
    scores, wrong = split(mixed(80, 0, -3.0) + mixed(10, 10, np.inf))
    result = certify_predictive_value(plan_of(), scores, wrong, alpha=0.05, delta=0.05)
    assert (result.n, result.errors, result.coverage) == (80, 0, 0.8)


def test_gated_positives_count_towards_all_positives_of_the_robust_bound():
    scores, labels = split(mixed(200, 2, -3.0) + mixed(0, 98, np.inf))
    result = certify_up_to_prevalence(plan_of(), scores, labels, alpha=0.1, delta=0.1, prevalence_max=0.4)
    assert result.limit == 0.0
    without = certify_up_to_prevalence(plan_of(), scores[:202], labels[:202], alpha=0.1, delta=0.1, prevalence_max=0.4)
    assert without.limit is None


@pytest.mark.parametrize("grid", [GRID, ()])
@pytest.mark.parametrize("pairs", [[], [(np.inf, True), (np.inf, False)]])
def test_nothing_to_certify_is_answered_without_a_limit(grid, pairs):
    scores, wrong = split(pairs)
    for result in (
        certify_predictive_value(plan_of(grid), scores, wrong, alpha=0.1, delta=0.1),
        certify_up_to_prevalence(plan_of(grid), scores, wrong, alpha=0.1, delta=0.1, prevalence_max=0.3),
    ):
        assert (result.limit, result.accepted, result.n, result.errors) == (None, None, 0, 0)
        assert result_at(plan_of(grid), result, scores, wrong, limit=0.0, alpha=0.1, delta=0.1).limit is None


@given(specimens, rates, rates, st.floats(-4, 1))
def test_a_smaller_limit_is_the_largest_accepted_one_that_is_allowed(pairs, alpha, delta, limit):
    scores, wrong = split(pairs)
    plan = plan_of(start=1)
    for certify, more in ((certify_predictive_value, {}), (certify_up_to_prevalence, {"prevalence_max": 0.2})):
        terms = {"alpha": alpha, "delta": delta, **more}
        result = certify(plan, scores, wrong, **terms)
        assert result_at(plan, result, scores, wrong, limit=np.inf, **terms) == result
        smaller = result_at(plan, result, scores, wrong, limit=limit, **terms)
        allowed = [] if result.accepted is None else [g for g in GRID[1 : result.accepted[1] + 1] if g <= limit]
        assert smaller.limit == (max(allowed) if allowed else None)
        if allowed:
            shorter = dataclasses.replace(plan, grid=GRID[: smaller.accepted[1] + 1])
            assert smaller == certify(shorter, scores, wrong, **terms)


def test_a_common_limit_is_accepted_by_all_and_allowed():
    plan = plan_of()
    scores, wrong = split(mixed(300, 0, -3.0))
    wide = certify_predictive_value(plan, scores, wrong, alpha=0.05, delta=0.05)
    narrow = dataclasses.replace(wide, accepted=(1, 2), limit=-1.0)
    none = dataclasses.replace(wide, accepted=None, limit=None)
    assert wide.accepted == (0, 3)
    assert common_limit(plan, [wide]) == 0.0
    assert common_limit(plan, [wide, narrow]) == -1.0
    assert common_limit(plan, [wide, narrow], at_most=-1.5) == -2.0
    assert common_limit(plan, [wide, narrow], at_most=-2.5) is None
    assert common_limit(plan, [wide, none]) is None
    assert common_limit(plan, []) is None
    assert common_limit(plan, [dataclasses.replace(wide, accepted=(0, 0)), narrow]) is None


@settings(max_examples=30)
@given(specimens, rates)
def test_a_smaller_delta_never_certifies_more(pairs, delta):
    assume(pairs)
    scores, wrong = split(pairs)
    loose = certify_predictive_value(plan_of(), scores, wrong, alpha=0.2, delta=delta)
    strict = certify_predictive_value(plan_of(), scores, wrong, alpha=0.2, delta=delta / 2)
    assert strict.accepted is None or (loose.accepted is not None and strict.accepted[1] <= loose.accepted[1])


@pytest.mark.parametrize(
    ("scores", "wrong", "terms", "error"),
    [
        ([np.nan], [0], {}, ScoresInvalid),
        ([-np.inf], [0], {}, ScoresInvalid),
        ([[1.0]], [[0]], {}, ScoresInvalid),
        ([1.0], [2], {}, LabelsInvalid),
        ([1.0], [np.nan], {}, LabelsInvalid),
        ([1.0], [0, 1], {}, LabelsInvalid),
        ([1.0], [0], {"alpha": 0.0}, RateInvalid),
        ([1.0], [0], {"delta": 1.0}, RateInvalid),
        ([1.0], [0], {"delta": np.nan}, RateInvalid),
    ],
)
def test_what_cannot_be_certified_is_refused(scores, wrong, terms, error):
    terms = {"alpha": 0.1, "delta": 0.1, **terms}
    with pytest.raises(error):
        certify_predictive_value(plan_of(), scores, wrong, **terms)
    with pytest.raises(error):
        certify_up_to_prevalence(plan_of(), scores, wrong, prevalence_max=0.3, **terms)


def test_a_prevalence_outside_the_unit_interval_or_a_limit_that_is_none_is_refused():
    for prevalence in (0.0, 1.0, np.nan):
        with pytest.raises(RateInvalid):
            certify_up_to_prevalence(plan_of(), [1.0], [0], alpha=0.1, delta=0.1, prevalence_max=prevalence)
    scores, wrong = split(mixed(300, 0, -3.0))
    result = certify_predictive_value(plan_of(), scores, wrong, alpha=0.1, delta=0.1)
    with pytest.raises(ScoresInvalid):
        result_at(plan_of(), result, scores, wrong, limit=np.nan, alpha=0.1, delta=0.1)
