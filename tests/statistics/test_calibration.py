import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from pellucid.statistics.calibration import fit_temperature
from pellucid.statistics.errors import CalibrationImpossible, LabelsInvalid, ProbabilitiesInvalid


def sample(n, temperature, seed=0, spread=1.5):
    """Raw logits that are `temperature` times too large."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, spread, size=n)
    return true * temperature, (rng.random(n) < expit(true)).astype(int)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_known_temperature_is_found(temperature):
    logits, labels = sample(20_000, temperature)
    fit = fit_temperature(logits, labels)
    assert fit.temperature == pytest.approx(temperature, rel=0.05)
    assert fit.slope == pytest.approx(1.0, abs=0.05)
    assert fit.intercept == pytest.approx(0.0, abs=0.05)
    assert (fit.n, fit.n_positive, fit.separable) == (20_000, labels.sum(), False)


def test_the_likelihood_improves_where_logits_are_overconfident():
    logits, labels = sample(500, 5.0)
    fit = fit_temperature(logits, labels)
    assert fit.nll_after < fit.nll_before
    p = expit(logits / fit.temperature)
    assert fit.nll_after == pytest.approx(-np.mean(np.where(labels == 1, np.log(p), np.log(1 - p))))


def test_no_other_temperature_is_more_likely():
    logits, labels = sample(200, 2.0, seed=1)
    fit = fit_temperature(logits, labels)
    n1, n0 = labels.sum(), 200 - labels.sum()
    targets = np.where(labels == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(temperature):
        return np.mean(np.logaddexp(0, logits / temperature) - targets * logits / temperature)

    assert all(
        loss(fit.temperature) <= loss(fit.temperature * factor) for factor in (0.9, 0.99, 0.999, 1.001, 1.01, 1.1)
    )


@settings(max_examples=30)
@given(st.floats(0.01, 100), st.integers(0, 100))
def test_the_unit_of_the_logits_does_not_matter(factor, seed):
    logits, labels = sample(60, 1.0, seed=seed, spread=3)
    plain, scaled = fit_temperature(logits, labels), fit_temperature(factor * logits, labels)
    assert scaled.temperature == pytest.approx(factor * plain.temperature, rel=1e-5)
    assert scaled.nll_after == pytest.approx(plain.nll_after, rel=1e-6)


def test_separable_cases_claim_no_more_than_their_number_can_show():
    few, many = (fit_temperature(np.r_[np.full(n, 3.0), np.full(n, -3.0)], [1] * n + [0] * n) for n in (10, 1000))
    assert few.separable
    assert few.slope is None
    assert few.intercept is None
    assert expit(3.0 / few.temperature) == pytest.approx(11 / 12, abs=1e-4)
    assert expit(3.0 / many.temperature) == pytest.approx(1001 / 1002, abs=1e-4)


def test_one_tiny_error_among_right_answers_does_not_sharpen_without_end():
    logits = np.r_[np.full(12, 2.0), np.full(12, -2.0), -0.001]
    fit = fit_temperature(logits, [1] * 12 + [0] * 12 + [1])
    assert expit(2.0 / fit.temperature) < 0.97


def test_logits_that_say_nothing_or_the_opposite_are_refused():
    logits, labels = sample(200, 1.0)
    with pytest.raises(CalibrationImpossible, match="chance"):
        fit_temperature(-logits, labels)
    with pytest.raises(CalibrationImpossible, match="chance"):
        fit_temperature(np.zeros(20), [0, 1] * 10)
    with pytest.raises(CalibrationImpossible, match="chance"):
        fit_temperature(np.r_[np.full(10, 1.0 + 1e-5), np.full(10, 1.0)], [1] * 10 + [0] * 10)


def test_one_class_or_too_few_cases_are_refused():
    with pytest.raises(CalibrationImpossible, match="20 positive and 0 negative"):
        fit_temperature(np.ones(20), [1] * 20)
    with pytest.raises(CalibrationImpossible, match="4 positive"):
        fit_temperature(np.r_[np.ones(4), -np.ones(10)], [1] * 4 + [0] * 10)
    assert fit_temperature(np.r_[np.ones(4), -np.ones(10)], [1] * 4 + [0] * 10, min_per_class=4).n == 14


def test_what_is_no_logit_or_label_is_refused():
    with pytest.raises(ProbabilitiesInvalid):
        fit_temperature([1.0, np.nan], [0, 1])
    with pytest.raises(LabelsInvalid):
        fit_temperature([1.0, 2.0], [0, 2])
    with pytest.raises(LabelsInvalid):
        fit_temperature([1.0, 2.0], [0])
