import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pellucid.monitoring.rates import count, rate, spread


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts):
    k, n = counts
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")

    found = rate(k, n)

    assert found.share == k / n
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_the_rate_of_none_may_be_anything():
    found = rate(0, 0)

    assert (found.share, found.low, found.high) == (None, 0.0, 1.0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_quantiles_are_ordered_and_within_the_values(values):
    found = spread(values)
    ordered = (
        found.minimum,
        found.low,
        found.lower_quartile,
        found.median,
        found.upper_quartile,
        found.high,
        found.maximum,
    )

    assert found.n == len(values)
    assert all(a <= b or math.isclose(a, b) for a, b in itertools.pairwise(ordered))
    assert found.median == pytest.approx(float(np.median(values)))


def test_values_that_are_not_finite_are_left_out():
    assert spread([1.0, math.nan, math.inf]).n == 1
    assert spread([math.nan]) is None
    assert spread([7.0]).sd is None


def test_counts_are_ordered_by_frequency_then_name():
    found = count(["b", "a", "b", "c"])

    assert [(one.name, one.n, one.total, one.share) for one in found] == [
        ("b", 2, 4, 0.5),
        ("a", 1, 4, 0.25),
        ("c", 1, 4, 0.25),
    ]
