import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads import make_bag
from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch
from pellucid.domain.tumour import TumourHead
from pellucid.uncertainty import tumour_probability
from pellucid.uncertainty.errors import BagNonFinite, BagPrecisionMismatch, LogitNonFinite


def make_tumour_head(dim=16, bias=-0.3, weights=None):
    weights = np.random.default_rng(9).normal(size=dim).tolist() if weights is None else weights
    return TumourHead(weights=tuple(weights), bias=bias, threshold=0.5, limit=0.05, n_tiles=10, auroc=None)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 3000), dim=st.integers(1, 70), seed=st.integers(0, 1000))
def test_it_is_the_logistic_of_a_weighted_sum(n, dim, seed):
    head, features = make_tumour_head(dim), make_bag(n, seed=seed, dim=dim)
    expected = 1 / (1 + np.exp(-(features.astype(np.float64) @ np.array(head.weights) + head.bias)))
    given = tumour_probability(head, features)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=1e-6)


@pytest.mark.parametrize("dim", [16, 192, 1536])
def test_a_tiles_bits_depend_on_itself_alone(dim):
    head, features = make_tumour_head(dim), make_bag(1300, dim=dim)
    together = tumour_probability(head, features)
    order = np.random.default_rng(1).permutation(1300)
    assert np.array_equal(tumour_probability(head, features[order]), together[order])
    assert np.array_equal(tumour_probability(head, features[7::2]), together[7::2])
    for index in (0, 1023, 1024, 1299):
        assert tumour_probability(head, features[index : index + 1])[0] == together[index]


def test_a_sure_tile_stays_within_nought_and_one():
    head = make_tumour_head(weights=[60_000.0] * 16)
    features = np.array([[60_000.0] * 16, [-60_000.0] * 16], np.float16)
    assert tumour_probability(head, features).tolist() == [1.0, 0.0]


def test_bags_that_cannot_be_judged_are_coded_errors():
    head, features = make_tumour_head(), make_bag(5)
    with pytest.raises(BagEmpty):
        tumour_probability(head, features[:0])
    with pytest.raises(BagShapeMismatch):
        tumour_probability(head, features[:, :15])
    with pytest.raises(BagPrecisionMismatch):
        tumour_probability(head, features.astype(np.float32))
    with pytest.raises(LogitNonFinite, match="5 logits"):
        tumour_probability(make_tumour_head(bias=float("nan")), features)
    features[2, 2] = np.inf
    with pytest.raises(BagNonFinite):
        tumour_probability(head, features)


def test_it_needs_no_torch():
    code = (
        "import sys, numpy as np; from pellucid.uncertainty import tumour_probability;"
        "from pellucid.domain.tumour import TumourHead;"
        "head = TumourHead(weights=(1.0, 2.0), bias=0.0, threshold=0.5, limit=0.0, n_tiles=1, auroc=None);"
        "assert tumour_probability(head, np.zeros((3, 2), np.float16)).tolist() == [0.5] * 3;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
