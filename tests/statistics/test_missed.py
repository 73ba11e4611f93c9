import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pellucid.statistics.errors import RateInvalid, ScoresInvalid
from pellucid.statistics.exact import least_n
from pellucid.statistics.missed import certify_missed, missed_bound

scores_lists = st.lists(st.one_of(st.integers(-5, 5).map(float), st.just(np.inf)), max_size=150)
rates = st.floats(0.01, 0.4)


@given(scores_lists, rates, rates, st.randoms(use_true_random=False))
def test_a_limit_never_misses_more_than_the_tail_allows_and_could_not_be_larger(scores, beta, delta, random):
    limit = certify_missed(scores, beta=beta, delta=delta)
    assert limit == certify_missed(random.sample(scores, len(scores)), beta=beta, delta=delta)
    n = len(scores)
    if limit is None:
        assert binom.cdf(0, n, beta) > delta
        return
    missed = sum(score <= limit for score in scores)
    assert binom.cdf(missed, n, beta) <= delta
    assert missed_bound(scores, limit, delta=delta).bound <= beta * (1 + 1e-9)
    following = np.nextafter(limit, np.inf)
    # the next larger number is a score, and so many may not lie below it, whole ties counted one by one
    smaller = sum(score < following for score in scores)
    assert following in scores
    assert smaller + scores.count(following) > smaller
    assert binom.cdf(smaller + scores.count(following), n, beta) > delta


@pytest.mark.parametrize(("beta", "delta", "n"), [(0.05, 0.05, 59), (0.03, 0.05, 99), (0.02, 0.025, 183)])
def test_too_few_mutated_specimens_allow_no_limit(beta, delta, n):
    assert n == least_n(0, beta, delta)
    scores = np.arange(float(n))
    assert certify_missed(scores[:-1], beta=beta, delta=delta) is None
    limit = certify_missed(scores, beta=beta, delta=delta)
    assert limit is not None
    assert limit < 0 <= np.nextafter(limit, np.inf)


def test_gated_positives_are_never_missed():
    scores = [-1.0] * 2 + [np.inf] * 98
    limit = certify_missed(scores, beta=0.10, delta=0.05)
    assert limit == np.finfo(np.float64).max
    assert missed_bound(scores, limit, delta=0.05).missed == 2
    assert certify_missed([], beta=0.1, delta=0.05) is None


def test_the_share_missed_exceeds_beta_no_more_often_than_delta():
    rng = np.random.default_rng(0)
    limits = [certify_missed(rng.uniform(size=100), beta=0.05, delta=0.1) for _ in range(4000)]
    # P(Bin(100, .05) <= 1) = .037 and <= 2 = .118: the second smallest score it is
    assert np.mean(np.array(limits) > 0.05) == pytest.approx(binom.cdf(1, 100, 0.05), abs=0.01)


def test_the_bound_at_a_limit_is_that_of_the_count():
    result = missed_bound([-2.0, -1.0, 0.0, 1.0], -1.0, delta=0.05)
    assert (result.n, result.missed) == (4, 2)
    assert binom.cdf(2, 4, result.bound) == pytest.approx(0.05)
    assert missed_bound([], 0.0, delta=0.05).bound == 1.0


def test_what_is_no_score_or_rate_is_refused():
    with pytest.raises(ScoresInvalid):
        certify_missed([np.nan], beta=0.1, delta=0.1)
    with pytest.raises(ScoresInvalid):
        missed_bound([1.0], np.nan, delta=0.1)
    for beta, delta in ((0.0, 0.1), (0.1, 1.0)):
        with pytest.raises(RateInvalid):
            certify_missed([1.0], beta=beta, delta=delta)
