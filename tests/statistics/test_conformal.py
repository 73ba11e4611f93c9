import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pellucid.core.seeds import generator
from pellucid.statistics.conformal import ConformalStream, folded, online_p_values

finite = st.floats(-1e6, 1e6)


def simulated(draw, *, m, n, repeats, max_bins, seed):
    """`(repeats, n)` p-values of streams that come from where their reference comes from."""
    rng = generator("test", "conformal", seed)
    return np.array([online_p_values(draw(rng, m), draw(rng, n), rng, max_bins=max_bins) for _ in range(repeats)])


@pytest.mark.parametrize(
    ("draw", "m", "max_bins"),
    [
        (lambda rng, size: rng.normal(size=size), 1, 256),
        (lambda rng, size: rng.lognormal(size=size), 14, 256),
        (lambda rng, size: rng.normal(size=size), 40, 7),
        (lambda rng, size: rng.integers(0, 3, size=size), 14, 256),
        (lambda rng, size: rng.integers(0, 3, size=size), 30, 4),
        (lambda rng, size: np.zeros(size), 14, 256),
    ],
    ids=["one reference value", "fourteen", "merged bins", "ties", "ties and merged bins", "constant"],
)
def test_p_values_are_uniform_and_independent_even_for_a_small_reference(draw, m, max_bins, request):
    p = simulated(draw, m=m, n=6, repeats=3000, max_bins=max_bins, seed=request.node.callspec.id)

    assert min(stats.kstest(p[:, step], "uniform").pvalue for step in range(6)) > 1e-3
    correlation = np.corrcoef(p.T)[np.triu_indices(6, k=1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(p))
    # dependence between neighbours that correlation would miss
    table = np.histogram2d(p[:, 4], p[:, 5], bins=4)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_ranking_against_plain_reference_quantiles_would_not_be_uniform():
    """The negative control: the bound on false alarms is lost where a small reference is taken for the truth."""
    rng = generator("test", "fixed reference")
    p = np.array([(rng.normal(size=14) > rng.normal()).mean() for _ in range(3000)])

    assert stats.kstest(p, "uniform").pvalue < 1e-6


@given(st.lists(finite, min_size=1, max_size=40), st.lists(finite, max_size=40), st.integers(2, 50))
def test_p_values_lie_within_zero_and_one_and_memory_is_bounded(reference, values, max_bins):
    stream = ConformalStream.start(reference, generator("test"), max_bins=max_bins)
    p = [stream.p_value(value) for value in values]

    assert all(0 <= one <= 1 for one in p)
    assert len(stream.weights) == min(max_bins, len(reference) + 1) == len(stream.edges) + 1
    assert stream.weights.sum() == len(reference) + 1 + len(values)


@given(st.lists(finite, min_size=1, max_size=30), st.lists(finite, max_size=20))
def test_only_the_order_of_values_matters(reference, values):
    def cubed(given):
        return [float(np.cbrt(one)) for one in given]

    a = online_p_values(reference, values, generator("test"))
    everything = sorted({*reference, *values})
    if len(set(cubed(everything))) == len(everything):
        np.testing.assert_array_equal(a, online_p_values(cubed(reference), cubed(values), generator("test")))


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30))
@settings(max_examples=30)
def test_the_order_of_bins_is_that_of_values_and_tie_breaks(reference):
    stream = ConformalStream.start(reference, generator("test"))
    pairs = list(zip(stream.edges, stream.ties, strict=True))

    assert pairs == sorted(pairs)


def test_large_values_have_small_p_values():
    reference = np.arange(99)

    assert ConformalStream.start(reference, generator("a")).p_value(1000) < 0.011
    assert ConformalStream.start(reference, generator("a")).p_value(-1000) > 0.989


def test_the_stream_is_learned():
    p = online_p_values(np.zeros(20) + np.arange(20), np.full(2000, 50.0), generator("a"))

    assert p[:20].mean() < 0.35
    assert 0.45 < p[-500:].mean() < 0.55


def test_the_same_generator_gives_the_same_p_values():
    a, b = (online_p_values(range(10), range(5, 15), generator("seed", 1)) for _ in range(2))

    np.testing.assert_array_equal(a, b)


def test_missing_values_are_passed_over():
    with_gaps = online_p_values(range(10), [3.0, np.nan, 7.0, np.inf], generator("a"))
    without = online_p_values(range(10), [3.0, 7.0], generator("a"))

    np.testing.assert_array_equal(with_gaps[[0, 2]], without)
    assert np.isnan(with_gaps[[1, 3]]).all()


@pytest.mark.parametrize("reference", [[], [1.0, np.nan], [np.inf]])
def test_a_reference_without_finite_values_is_refused(reference):
    with pytest.raises(ValueError, match="finite"):
        ConformalStream.start(reference, generator("a"))


def test_a_single_bin_and_a_value_without_rank_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        ConformalStream.start([1.0], generator("a"), max_bins=1)
    with pytest.raises(ValueError, match="rank"):
        ConformalStream.start([1.0], generator("a")).p_value(float("nan"))


def test_folding_shows_both_ends():
    np.testing.assert_allclose(folded(np.array([0.0, 0.5, 1.0, 0.25])), [1.0, 0.0, 1.0, 0.5])
