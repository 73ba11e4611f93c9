import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import binom

from pellucid.statistics.certification import certify_predictive_value
from pellucid.statistics.errors import CountsInvalid, ProbabilitiesInvalid, RateInvalid, ScoresInvalid
from pellucid.statistics.exact import most_errors
from pellucid.statistics.plan import acceptance, plan_side

TERMS = {"n": 300, "alpha": 0.1, "delta": 0.05, "highest": 0.0}
finite = st.floats(-6, 6).map(lambda value: round(value, 1))
tuning = st.lists(st.one_of(finite, st.just(np.inf)), max_size=50)


def planned(scores, **more):
    scores = np.asarray(scores, dtype=np.float64)
    return plan_side(scores, expit(np.minimum(scores, 6)), **{**TERMS, **more})


@settings(max_examples=60)
@given(tuning, st.integers(1, 50), st.floats(-4, 4))
def test_the_grid_rises_and_stays_within_what_tuning_saw_and_what_is_allowed(scores, n_grid, highest):
    plan = planned(scores, n_grid=n_grid, highest=highest)
    allowed = [score for score in scores if score <= highest]
    assert len(plan.grid) <= n_grid
    assert len(plan.grid) == len(plan.coverage) == len(plan.risk)
    assert plan.n_tuning == len(scores)
    if not allowed:
        assert plan.grid == ()
        assert (plan.start, plan.predicted_power) == (0, 0.0)
        return
    assert all(np.diff(plan.grid) > 0)
    assert plan.grid[0] >= min(allowed)
    finite_scores = [score for score in scores if np.isfinite(score)]
    assert plan.grid[-1] == min(highest, max(finite_scores))
    assert 0 <= plan.start < len(plan.grid)
    assert all(np.diff(plan.coverage) >= -1e-12)
    assert 0 < plan.coverage[-1] <= 1
    assert all(0 <= risk <= 1 for risk in plan.risk)


@settings(max_examples=30)
@given(tuning, st.randoms(use_true_random=False))
def test_the_order_of_the_specimens_makes_no_difference(scores, random):
    assert planned(scores) == planned(random.sample(scores, len(scores)))


def test_predictions_at_the_tuning_scores_are_the_counts():
    scores, risk = [-4.0, -3.0, -3.0, -1.0, 2.0, np.inf], [0.02, 0.06, 0.04, 0.3, 0.9, 0.5]
    plan = plan_side(scores, risk, **{**TERMS, "n_grid": 7, "highest": 2.0})
    at = dict(zip(plan.grid, zip(plan.coverage, plan.risk, strict=True), strict=True))
    assert at[-3.0] == (pytest.approx(3 / 6), pytest.approx(0.12 / 3))
    assert at[2.0] == (pytest.approx(5 / 6), pytest.approx(1.32 / 5))
    assert plan.base_risk == pytest.approx(1.82 / 6)


def test_few_tuning_specimens_make_no_coarse_grid():
    scores = np.linspace(-5, 3, 33)
    plan = planned(scores)
    assert len(plan.grid) == 200
    assert max(np.diff(plan.grid)) < 0.1
    assert plan.grid[-1] == 0.0
    assert plan.coverage[-1] == pytest.approx(21 / 33)


def test_the_start_is_where_acceptance_is_likeliest():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.5, 2.0, size=500)
    plan = planned(logits)
    region = logits[:, None] <= np.array(plan.grid)
    counts = region.sum(0) * 300 // 500
    risk = (expit(logits)[:, None] * region).sum(0) / region.sum(0)
    power = binom.cdf(most_errors(counts, 0.1, 0.05), counts, risk)
    # the plan averages over the teeth of this saw
    assert power[plan.start] > 0.9 * power.max()
    assert plan.predicted_power == pytest.approx(power[plan.start], abs=0.1)


def test_predicted_power_is_how_often_the_start_is_accepted():
    rng = np.random.default_rng(1)
    shift, prevalence = 2.0, 0.3
    offset = shift**2 / 2 - np.log(prevalence / (1 - prevalence))

    def draw(n):
        labels = rng.random(n) < prevalence
        return shift * (rng.standard_normal(n) + shift * labels) - offset, labels

    tuning_scores, _ = draw(5000)
    plan = plan_side(tuning_scores, expit(tuning_scores), n=150, alpha=0.1, delta=0.05, highest=0.0)
    accepted = [certify_predictive_value(plan, *draw(150), alpha=0.1, delta=0.05).accepted for _ in range(600)]
    assert plan.predicted_power == pytest.approx(np.mean([one is not None for one in accepted]), abs=0.06)


def test_cautious_probabilities_do_not_confine_the_start_to_the_surest_few():
    scores = np.random.default_rng(2).normal(-2, 2, size=400)
    plan = plan_side(scores, expit(scores / 2), n=1500, alpha=0.05, delta=0.05, highest=0.0)
    assert plan.coverage[plan.start] > 0.1


def test_a_bound_on_missed_positives_lowers_the_start():
    scores = np.random.default_rng(3).normal(-1, 2, size=2000)
    alone = planned(scores, n=1500)
    joint = planned(scores, n=1500, missed=(0.02, 0.05))
    assert joint.grid == alone.grid
    assert joint.start < alone.start


def test_a_higher_prevalence_lowers_the_power():
    scores = np.random.default_rng(4).normal(-2, 2, size=2000)
    low, high = (planned(scores, n=600, prevalence_max=prevalence) for prevalence in (0.3, 0.6))
    assert low.grid == high.grid == planned(scores).grid
    assert high.predicted_power < low.predicted_power


def test_chances_rise_with_the_number_and_fall_with_the_risk():
    coverage, risk = np.array([0.5, 0.5, 0.5]), np.array([0.01, 0.03, 0.08])
    few, many = (acceptance(n, coverage, risk, 0.3, alpha=0.1, delta=0.05) for n in (100, 1000))
    assert all(np.diff(few) < 0)
    assert all(many > few)
    assert acceptance(0, coverage, risk, 0.3, alpha=0.1, delta=0.05).tolist() == [0, 0, 0]


@pytest.mark.parametrize("n", [0, 1, 10])
def test_hopeless_numbers_are_planned_without_hope(n):
    plan = planned([-3.0, -2.0, -1.0], n=n)
    assert plan.grid
    assert plan.predicted_power == 0


@pytest.mark.parametrize(
    ("scores", "risk", "terms", "error"),
    [
        ([np.nan], [0.5], {}, ScoresInvalid),
        ([-np.inf], [0.5], {}, ScoresInvalid),
        ([[1.0]], [0.5], {}, ScoresInvalid),
        ([1.0, 2.0], [0.5], {}, ScoresInvalid),
        ([1.0], [0.5], {"highest": np.inf}, ScoresInvalid),
        ([1.0], [0.5], {"highest": np.nan}, ScoresInvalid),
        ([1.0], [1.5], {}, ProbabilitiesInvalid),
        ([1.0], [np.nan], {}, ProbabilitiesInvalid),
        ([1.0], [0.5], {"n": -1}, CountsInvalid),
        ([1.0], [0.5], {"alpha": 0.0}, RateInvalid),
        ([1.0], [0.5], {"delta": 1.0}, RateInvalid),
        ([-1.0], [0.5], {"prevalence_max": 1.0}, RateInvalid),
        ([-1.0], [0.5], {"missed": (0.0, 0.5)}, RateInvalid),
        ([1.0], [0.5], {"n_grid": 0}, RateInvalid),
    ],
)
def test_what_no_plan_can_rest_on_is_refused(scores, risk, terms, error):
    with pytest.raises(error):
        plan_side(scores, risk, **{**TERMS, **terms})
