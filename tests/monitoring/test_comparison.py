import numpy as np
import pytest
from scipy import stats

from pellucid.core.seeds import generator
from pellucid.monitoring.comparison import permutation_p_value


def test_it_agrees_with_the_exact_test():
    rng = generator("test", "exact")
    for shift in (0.0, 0.5, 1.5):
        a, b = rng.normal(size=14), rng.normal(size=20) + shift
        exact = stats.ks_2samp(a, b, method="exact").pvalue

        found = permutation_p_value(a, b, rng, n_permutations=4000)

        assert found == pytest.approx(exact, abs=0.03)


def test_with_ties_it_keeps_its_level():
    rng = generator("test", "ties")
    p = [
        permutation_p_value(rng.integers(0, 3, 14), rng.integers(0, 3, 30).astype(float), rng, n_permutations=99)
        for _ in range(200)
    ]

    assert np.mean(np.array(p) <= 0.1) < 0.1 + 3 * np.sqrt(0.09 / 200)


def test_the_same_constant_in_both_is_no_difference():
    assert permutation_p_value([0.0] * 9, np.zeros(9), generator("test"), n_permutations=50) == 1.0


@pytest.mark.parametrize(("m", "n"), [(4, 100), (100, 4)])
def test_four_values_are_too_few(m, n):
    assert permutation_p_value([0.0] * m, np.ones(n), generator("test")) is None
