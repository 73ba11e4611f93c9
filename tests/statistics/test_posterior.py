import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import entropy

from pellucid.statistics.errors import LogitsInvalid, SummaryInvalid
from pellucid.statistics.posterior import combine_scans, logit_interval, summarise

logit_lists = st.lists(st.floats(-30, 30), min_size=2, max_size=60)
RAW = np.random.default_rng(3).normal(0.4, 0.8, size=50)


def test_every_number_follows_its_formula():
    posterior = summarise(RAW, temperature=1.7, n_scans=2, level=0.8)
    calibrated = RAW / 1.7
    p = expit(calibrated)
    assert posterior.logits == tuple(RAW.tolist())
    assert posterior.mean_logit == pytest.approx(calibrated.mean())
    assert posterior.sd_logit == pytest.approx(calibrated.std(ddof=1))
    assert posterior.probability == pytest.approx(expit(calibrated.mean()))
    assert posterior.mean_probability == pytest.approx(p.mean())
    assert posterior.low == pytest.approx(expit(np.quantile(calibrated, 0.1)))
    assert posterior.high == pytest.approx(expit(np.quantile(calibrated, 0.9)))
    predictive = entropy([p.mean(), 1 - p.mean()])
    assert posterior.entropy == pytest.approx(predictive)
    expected = np.mean([entropy([q, 1 - q]) for q in p])
    assert posterior.mutual_information == pytest.approx((predictive - expected) * 50 / 49)
    assert (posterior.temperature, posterior.level, posterior.n_scans) == (1.7, 0.8, 2)


def test_the_correction_takes_the_bias_out_of_mutual_information():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.5, 0.6, size=(4000, 10))
    truth = summarise(rng.normal(0.5, 0.6, size=200_000), temperature=1.0, n_scans=1).mutual_information
    few = np.mean([summarise(row, temperature=1.0, n_scans=1).mutual_information for row in draws])
    assert few == pytest.approx(truth, rel=0.03)
    assert few * 9 / 10 < 0.95 * truth


@given(logit_lists, st.floats(0.1, 10), st.floats(0.05, 0.99))
def test_numbers_stay_in_their_ranges(logits, temperature, level):
    posterior = summarise(logits, temperature=temperature, n_scans=1, level=level)
    assert 0 <= posterior.low <= posterior.high <= 1
    assert 0 <= posterior.entropy <= math.log(2) + 1e-12
    assert posterior.mutual_information >= 0
    assert posterior.sd_logit >= 0
    assert min(logits) / temperature - 1e-9 <= posterior.mean_logit <= max(logits) / temperature + 1e-9


@given(logit_lists, st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_deriving_again_from_stored_logits_gives_the_same_bits(logits, temperature, random):
    posterior = summarise(np.array(logits), temperature=temperature, n_scans=3)
    again = summarise(posterior.logits, temperature=posterior.temperature, n_scans=posterior.n_scans)
    assert again == posterior
    strided = np.zeros(2 * len(logits))
    strided[::2] = logits
    assert summarise(strided[::2], temperature=temperature, n_scans=3) == posterior
    shuffled = random.sample(logits, len(logits))
    moved = summarise(shuffled, temperature=temperature, n_scans=3)
    assert (moved.mean_logit, moved.sd_logit, moved.mutual_information, moved.low) == (
        posterior.mean_logit,
        posterior.sd_logit,
        posterior.mutual_information,
        posterior.low,
    )


@given(logit_lists)
def test_swapping_the_classes_mirrors_the_posterior(logits):
    one = summarise(logits, temperature=1.0, n_scans=1)
    other = summarise([-value for value in logits], temperature=1.0, n_scans=1)
    assert other.mean_logit == -one.mean_logit
    assert other.mutual_information == pytest.approx(one.mutual_information, abs=1e-12)
    assert other.low == pytest.approx(1 - one.high, abs=1e-12)


def test_equal_passes_carry_no_information_about_the_network():
    posterior = summarise([2.0] * 50, temperature=1.0, n_scans=1)
    assert posterior.sd_logit == 0
    assert posterior.mutual_information == pytest.approx(0, abs=1e-14)
    assert posterior.low == posterior.high == posterior.probability == expit(2.0)


@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_one_pass_is_a_point_without_spread(raw, temperature):
    posterior = summarise([raw], temperature=temperature, n_scans=1)
    assert posterior.mean_logit == raw / temperature
    assert (posterior.sd_logit, posterior.mutual_information) == (0.0, 0.0)
    assert posterior.low == posterior.high == posterior.probability
    assert posterior.entropy == pytest.approx(entropy([expit(posterior.mean_logit), expit(-posterior.mean_logit)]))
    assert logit_interval(posterior) == (posterior.mean_logit, posterior.mean_logit)


@given(logit_lists, st.floats(0.1, 10), st.floats(0.05, 0.99))
def test_the_interval_in_logits_is_that_of_the_probabilities(logits, temperature, level):
    posterior = summarise(logits, temperature=temperature, n_scans=1, level=level)
    low, high = logit_interval(posterior)
    assert (low, high) == tuple(np.quantile(np.array(logits) / temperature, [(1 - level) / 2, (1 + level) / 2]))
    assert (expit(low), expit(high)) == (posterior.low, posterior.high)


def test_the_interval_in_logits_keeps_what_probabilities_lose():
    posterior = summarise([50.0, 60.0], temperature=1.0, n_scans=1, level=0.5)
    assert posterior.low == posterior.high == 1.0
    assert logit_interval(posterior) == (52.5, 57.5)


def test_saturated_logits_stay_finite():
    posterior = summarise([800.0, -800.0], temperature=1.0, n_scans=1)
    assert posterior.entropy == pytest.approx(math.log(2))
    assert posterior.mutual_information == pytest.approx(2 * math.log(2))
    assert all(math.isfinite(getattr(posterior, name)) for name in ("sd_logit", "low", "high", "mean_probability"))


@pytest.mark.parametrize("logits", [[], [[1.0, 2.0]], [1.0, math.nan], [1.0, math.inf]])
def test_logits_that_are_no_passes_are_refused(logits):
    with pytest.raises(LogitsInvalid):
        summarise(logits, temperature=1.0, n_scans=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"temperature": -1.0},
        {"level": 1.0},
        {"level": 0.0},
        {"n_scans": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SummaryInvalid):
        summarise([0.0, 1.0], **{"temperature": 1.0, "n_scans": 1, **wrong})


@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_scans_combine_pass_by_pass_in_any_order(k, n, seed):
    scans = np.random.default_rng(seed).normal(size=(k, n))
    combined = combine_scans(list(scans))
    np.testing.assert_allclose(combined, scans.mean(0), rtol=1e-12, atol=1e-15)
    assert combined.dtype == np.float64
    order = np.random.default_rng(seed + 1).permutation(k)
    assert np.array_equal(combine_scans(scans[order]), combined)


@given(logit_lists, st.integers(1, 8))
def test_identical_scans_are_as_uncertain_as_one(logits, k):
    assume(np.std(logits) > 1e-6)
    one = summarise(combine_scans([logits]), temperature=1.0, n_scans=1)
    many = summarise(combine_scans([logits] * k), temperature=1.0, n_scans=k)
    assert many.sd_logit == pytest.approx(one.sd_logit, rel=1e-9)
    assert many.probability == pytest.approx(one.probability, rel=1e-12)


@pytest.mark.parametrize("scans", [[], [[1.0, 2.0], [1.0]], [[1.0, math.nan]], [[[1.0]]]])
def test_scans_that_do_not_match_are_refused(scans):
    with pytest.raises(LogitsInvalid):
        combine_scans(scans)


def test_the_probability_is_the_logistic_of_the_mean_logit_and_not_the_mean_probability():
    posterior = summarise([0.0, 6.0], temperature=1.0, n_scans=1)
    assert logit(posterior.probability) == pytest.approx(3.0)
    assert posterior.mean_probability < posterior.probability


def test_the_room_never_loads_torch_and_loads_scipy_late():
    code = (
        "import sys, pellucid.statistics as room; early = 'scipy' in sys.modules;"
        "[getattr(room, name) for name in room.__all__]; sys.exit(early or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
