import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from pellucid.statistics.errors import CountsInvalid, RateInvalid
from pellucid.statistics.exact import (
    clopper_pearson,
    error_table,
    least_n,
    lower_bound,
    lower_bounds,
    max_errors,
    most_errors,
    upper_bound,
    upper_bounds,
)

rates = st.floats(0.001, 0.999)
small = st.floats(0.001, 0.3)
pairs = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("alpha", "delta", "needed"),
    [
        (0.05, 0.05, {0: 59, 1: 93, 2: 124, 3: 153, 5: 208, 10: 336}),
        (0.05, 0.025, {0: 72, 1: 110, 2: 142, 3: 173, 5: 230, 10: 364}),
        (0.02, 0.05, {0: 149, 1: 236, 5: 523}),
        (0.02, 0.025, {0: 183, 1: 277, 5: 581}),
        (0.01, 0.05, {0: 299, 1: 473}),
        (0.01, 0.025, {0: 368, 1: 555}),
        (0.10, 0.05, {0: 29, 1: 46, 5: 103}),
        (0.10, 0.025, {0: 36, 1: 54, 5: 114}),
    ],
)
def test_the_published_minimum_numbers_are_reproduced(alpha, delta, needed):
    for errors, n in needed.items():
        assert least_n(errors, alpha, delta) == n
        assert max_errors(n, alpha, delta) == errors
        assert max_errors(n - 1, alpha, delta) == errors - 1


@given(pairs, rates)
def test_the_interval_is_that_of_an_exact_binomial_test(counts, level):
    k, n = counts
    low, high = clopper_pearson(k, n, level=level)
    if n:
        oracle = binomtest(k, n).proportion_ci(level, method="exact")
        assert (low, high) == (pytest.approx(oracle.low, abs=1e-9), pytest.approx(oracle.high, abs=1e-9))
    assert 0 <= low <= high <= 1


@given(pairs, rates)
def test_the_bounds_invert_the_tails(counts, delta):
    k, n = counts
    high, low = upper_bound(k, n, delta), lower_bound(k, n, delta)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(delta, rel=1e-6)
    if k > 0:
        assert binom.sf(k - 1, n, low) == pytest.approx(delta, rel=1e-6)
    assert upper_bound(n, n, delta) == 1
    assert lower_bound(0, n, delta) == 0


@given(st.integers(0, 3000), small, small)
def test_the_most_errors_are_the_last_whose_tail_is_small_enough(n, alpha, delta):
    most = max_errors(n, alpha, delta)
    assert most == -1 or binom.cdf(most, n, alpha) <= delta
    assert most < n
    assert binom.cdf(most + 1, n, alpha) > delta


@given(st.integers(0, 60), small, small)
def test_the_least_number_is_the_first_that_is_enough(errors, alpha, delta):
    n = least_n(errors, alpha, delta)
    assert binom.cdf(errors, n, alpha) <= delta < binom.cdf(errors, n - 1, alpha)


@given(pairs, small, small)
def test_bound_and_test_are_one_inequality(counts, alpha, delta):
    k, n = counts
    accepted = k <= max_errors(n, alpha, delta)
    assert accepted == (upper_bound(k, n, delta) <= alpha) or upper_bound(k, n, delta) == pytest.approx(alpha, rel=1e-9)


def test_arrays_agree_with_single_numbers():
    k, n = np.array([0, 3, 10, 0]), np.array([0, 10, 10, 50])
    assert upper_bounds(k, n, 0.1).tolist() == [upper_bound(int(a), int(b), 0.1) for a, b in zip(k, n, strict=True)]
    assert lower_bounds(k, n, 0.1).tolist() == [lower_bound(int(a), int(b), 0.1) for a, b in zip(k, n, strict=True)]
    table = error_table(8, 0.05, 0.05)
    assert table.tolist() == [max_errors(n, 0.05, 0.05) for n in range(256)]
    assert not table.flags.writeable
    assert most_errors(100, [0.0, 0.5, 1.0], 0.05).tolist() == [-1, max_errors(100, 0.5, 0.05), 99]


def test_an_interval_of_nothing_is_everything():
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert max_errors(0, 0.5, 0.5) == -1


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, -1), (1.5, 3), (True, 3.0)])
def test_what_are_no_counts_is_refused(k, n):
    for bound in (upper_bound, lower_bound):
        with pytest.raises(CountsInvalid):
            bound(k, n, 0.05)
    with pytest.raises(CountsInvalid):
        clopper_pearson(k, n)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_rates_outside_the_unit_interval_are_refused(rate):
    for wrong in (
        lambda: upper_bound(1, 3, rate),
        lambda: lower_bound(1, 3, rate),
        lambda: clopper_pearson(1, 3, level=rate),
        lambda: max_errors(10, rate, 0.05),
        lambda: max_errors(10, 0.05, rate),
        lambda: least_n(0, rate, 0.05),
        lambda: least_n(0, 0.05, rate),
    ):
        with pytest.raises(RateInvalid):
            wrong()


def test_a_number_that_nobody_has_is_refused():
    with pytest.raises(CountsInvalid):
        least_n(0, 1e-9, 0.05)
    with pytest.raises(CountsInvalid):
        least_n(-1, 0.05, 0.05)
