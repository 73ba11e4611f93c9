import numpy as np
import pytest
from scipy.special import expit

from pellucid.statistics.certification import certify_predictive_value, certify_up_to_prevalence
from pellucid.statistics.errors import LabelsInvalid, RateInvalid, ScoresInvalid
from pellucid.statistics.plan import SidePlan, plan_side
from pellucid.statistics.sample_size import shortfall

SHIFT, PREVALENCE = 2.2, 0.3
OFFSET = SHIFT**2 / 2 - np.log(PREVALENCE / (1 - PREVALENCE))


def draw(rng, n):
    labels = rng.random(n) < PREVALENCE
    return SHIFT * (rng.standard_normal(n) + SHIFT * labels) - OFFSET, labels


def planned(rng, n, **terms):
    scores, _ = draw(rng, 400)
    return plan_side(scores, expit(scores), n=n, highest=0.0, **terms)


@pytest.mark.parametrize("more", [{}, {"prevalence_max": 0.35}])
def test_with_the_number_named_certification_succeeds_about_as_often_as_asked(more):
    rng = np.random.default_rng(0)
    terms = {"alpha": 0.05, "delta": 0.05}
    certify = certify_up_to_prevalence if more else certify_predictive_value
    plan = planned(rng, 60, **terms, **more)
    scores, wrong = draw(rng, 60)
    assert certify(plan, scores, wrong, **terms, **more).limit is None
    n = shortfall(plan, scores, wrong, **terms, **more)
    assert n is not None
    assert n > 60
    tried = []
    for _ in range(200):
        again = planned(rng, n, **terms, **more)
        tried.append(certify(again, *draw(rng, n), **terms, **more).limit is not None)
    assert 0.6 < np.mean(tried) < 0.98


@pytest.mark.parametrize(("alpha", "delta", "needed"), [(0.05, 0.025, 515), (0.02, 0.025, 1356), (0.10, 0.025, 255)])
def test_half_the_allowed_risk_takes_the_published_numbers(alpha, delta, needed):
    plan = SidePlan(
        grid=(0.0,), start=0, predicted_power=0.0, coverage=(1.0,), risk=(alpha / 2,), base_risk=0.3, n_tuning=40
    )
    assert shortfall(plan, [], [], alpha=alpha, delta=delta) == pytest.approx(needed, rel=0.06)


def test_what_certification_saw_counts_beside_what_tuning_predicted():
    plan = planned(np.random.default_rng(1), 100, alpha=0.05, delta=0.05)
    scores = np.full(200, -5.0)
    clean, dirty = np.zeros(200), np.r_[np.ones(8), np.zeros(192)]
    few = shortfall(plan, scores, clean, alpha=0.05, delta=0.05)
    alone = shortfall(plan, [], [], alpha=0.05, delta=0.05)
    many = shortfall(plan, scores, dirty, alpha=0.05, delta=0.05)
    assert few < alone < many


def test_more_power_or_another_claim_takes_more():
    plan = planned(np.random.default_rng(2), 100, alpha=0.05, delta=0.05)
    terms = {"alpha": 0.05, "delta": 0.05}
    plain = shortfall(plan, [], [], **terms)
    assert shortfall(plan, [], [], **terms, power=0.95) > plain
    assert shortfall(plan, [], [], **terms, missed=(0.02, 0.05)) > plain
    assert shortfall(plan, [], [], **terms, prevalence_max=0.5) > plain


def test_a_model_that_is_too_often_wrong_has_no_number():
    scores = np.linspace(-2, 0, 40)
    plan = plan_side(scores, np.full(40, 0.2), n=100, alpha=0.05, delta=0.05, highest=0.0)
    assert shortfall(plan, scores, np.ones(40), alpha=0.05, delta=0.05) is None
    assert shortfall(plan, scores, np.ones(40), alpha=0.05, delta=0.05, prevalence_max=0.5) is None
    empty = plan_side([], [], n=100, alpha=0.05, delta=0.05, highest=0.0)
    assert shortfall(empty, scores, np.ones(40), alpha=0.05, delta=0.05) is None


def test_what_no_number_follows_from_is_refused():
    plan = planned(np.random.default_rng(1), 100, alpha=0.05, delta=0.05)
    with pytest.raises(ScoresInvalid):
        shortfall(plan, [np.nan], [0], alpha=0.05, delta=0.05)
    with pytest.raises(LabelsInvalid):
        shortfall(plan, [1.0], [2], alpha=0.05, delta=0.05)
    for terms in ({"alpha": 0.0}, {"delta": 1.0}, {"power": 1.0}):
        with pytest.raises(RateInvalid):
            shortfall(plan, [1.0], [0], **{"alpha": 0.05, "delta": 0.05, **terms})
