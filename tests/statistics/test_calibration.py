import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from pellucid.statistics.bootstrap import patient_bootstrap
from pellucid.statistics.calibration import (
    calibration_in_the_large,
    calibration_intercept,
    calibration_slope,
    fit_temperature,
)
from pellucid.statistics.errors import (
    CalibrationImpossible,
    ClassesApart,
    LabelsInvalid,
    OneClass,
    ProbabilitiesInvalid,
)


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


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.7), (1.0, -1.0)])
def test_a_known_calibration_line_is_found(slope, intercept):
    rng = np.random.default_rng(0)
    logits = rng.normal(-0.5, 1.5, size=40_000)
    labels = (rng.random(logits.size) < expit(intercept + slope * logits)).astype(int)
    assert calibration_slope(logits, labels) == pytest.approx(slope, abs=0.06)
    assert calibration_intercept(logits, labels) == pytest.approx(intercept, abs=0.06)
    if slope == 1:
        assert calibration_in_the_large(logits, labels) == pytest.approx(intercept, abs=0.05)


@given(st.integers(0, 500), st.floats(-3, 3))
def test_calibration_in_the_large_makes_the_mean_probability_the_share(seed, offset):
    logits, labels = sample(40, 1.0, seed=seed)
    if labels.min() == labels.max():
        return
    shift = calibration_in_the_large(logits + offset, labels)
    assert expit(logits + offset + shift).mean() == pytest.approx(labels.mean(), abs=1e-9)


def test_calibration_in_the_large_of_equal_logits_is_their_distance_from_the_share():
    assert calibration_in_the_large([2.0] * 4, [0, 1, 0, 1]) == pytest.approx(-2.0)


def test_the_fit_reports_the_same_line():
    logits, labels = sample(400, 2.0)
    fit = fit_temperature(logits, labels)
    calibrated = logits / fit.temperature
    assert (calibration_slope(calibrated, labels), calibration_intercept(calibrated, labels)) == (
        fit.slope,
        fit.intercept,
    )


def test_the_line_has_intervals_by_patient_and_counts_resamples_whose_classes_lie_apart():
    logits, labels = sample(24, 0.3, seed=5)
    interval = patient_bootstrap(
        calibration_slope, logits, labels, [f"p{index}" for index in range(24)], n_resamples=200
    )
    assert interval.low <= interval.estimate <= interval.high
    assert interval.n_resamples + interval.n_undefined == 200


def test_a_line_without_overlap_or_with_one_class_is_refused():
    with pytest.raises(ClassesApart):
        calibration_slope([-1.0, -2.0, 1.0, 2.0], [0, 0, 1, 1])
    for metric in (calibration_slope, calibration_intercept, calibration_in_the_large):
        with pytest.raises(OneClass):
            metric([0.5, 1.0], [1, 1])
        with pytest.raises(ProbabilitiesInvalid):
            metric([np.nan, 1.0], [0, 1])
        with pytest.raises(LabelsInvalid):
            metric([0.5, 1.0], [0, 2])


@pytest.mark.parametrize("logit", [0.0, -0.3, 1.7, 12.0])
@pytest.mark.parametrize("n_positive", [1, 4, 9])
def test_calibration_in_the_large_of_equal_logits_is_what_lifts_them_to_the_share(logit: float, n_positive: int):
    labels = [1] * n_positive + [0] * (10 - n_positive)
    shift = calibration_in_the_large([logit] * 10, labels)
    assert expit(logit + shift) == pytest.approx(n_positive / 10, abs=1e-9)
