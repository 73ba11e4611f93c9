from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pellucid.statistics.curves import pr_curve, reliability_bins, roc_curve
from pellucid.statistics.errors import LabelsInvalid, OneClass, ProbabilitiesInvalid, RateInvalid
from pellucid.statistics.metrics import auroc, average_precision, ece

cases = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 1)), min_size=2, max_size=60
)


def split(pairs):
    return tuple(np.array(column) for column in zip(*pairs, strict=True))


@given(cases)
def test_the_area_under_the_points_is_auroc(pairs):
    scores, labels = split(pairs)
    assume(0 < labels.sum() < labels.size)
    curve = roc_curve(scores, labels)
    assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(auroc(scores, labels))
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    rows = zip(curve.thresholds, curve.false_positive_rate, curve.true_positive_rate, strict=True)
    for threshold, false_positive, true_positive in rows:
        called = scores >= threshold
        assert false_positive == pytest.approx(called[labels == 0].mean())
        assert true_positive == pytest.approx(called[labels == 1].mean())


@given(cases)
def test_the_steps_under_the_points_are_average_precision(pairs):
    scores, labels = split(pairs)
    assume(labels.any())
    curve = pr_curve(scores, labels)
    steps = np.diff(curve.recall, prepend=0.0)
    assert np.sum(steps * curve.precision) == pytest.approx(average_precision(scores, labels))
    assert curve.recall[-1] == 1
    assert list(curve.thresholds) == sorted(set(scores), reverse=True)
    for threshold, precision in zip(curve.thresholds, curve.precision, strict=True):
        assert precision == pytest.approx(labels[scores >= threshold].mean())


@given(cases, st.integers(1, 12), st.randoms(use_true_random=False))
def test_bins_hold_every_case_once_with_exact_intervals(pairs, n_bins, random):
    predicted, labels = split(pairs)
    bins = reliability_bins(predicted, labels, n_bins=n_bins)
    assert 1 <= len(bins) <= n_bins
    assert sum(one.n for one in bins) == labels.size
    assert sum(one.n_positive for one in bins) == labels.sum()
    assert all(a.mean_predicted < b.mean_predicted for a, b in pairwise(bins))
    for one in bins:
        interval = binomtest(one.n_positive, one.n).proportion_ci(0.95, method="exact")
        assert (one.low, one.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
        assert one.low <= one.share <= one.high
        assert one.share == one.n_positive / one.n
    moved = reliability_bins(*split(random.sample(pairs, len(pairs))), n_bins=n_bins)
    assert [(one.n, one.n_positive) for one in moved] == [(one.n, one.n_positive) for one in bins]


def test_the_bins_are_those_of_the_calibration_error():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(size=500)
    labels = (rng.random(500) < predicted**2).astype(int)
    bins = reliability_bins(predicted, labels)
    square = sum(
        one.n / 500 * ((one.mean_predicted - one.share) ** 2 - one.share * (1 - one.share) / (one.n - 1))
        for one in bins
    )
    assert [one.n for one in bins] == [50] * 10
    assert ece(predicted, labels) == pytest.approx(np.sqrt(square))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        predicted = rng.uniform(size=200)
        bins = reliability_bins(predicted, (rng.random(200) < 0.3).astype(int), n_bins=4, level=0.9)
        held += [one.low <= 0.3 <= one.high for one in bins]
    assert 0.9 <= np.mean(held) <= 0.96


def test_curves_need_the_classes_they_compare():
    for labels in ([0, 0], [1, 1]):
        with pytest.raises(OneClass):
            roc_curve([0.1, 0.2], labels)
    with pytest.raises(OneClass):
        pr_curve([0.1, 0.2], [0, 0])
    assert pr_curve([0.1, 0.2], [1, 1]).precision == (1.0, 1.0)


@pytest.mark.parametrize("curve", [roc_curve, pr_curve, reliability_bins])
def test_what_is_no_prediction_or_label_is_refused(curve):
    for predicted in ([], [np.nan, 0.5], [[0.1, 0.2]]):
        with pytest.raises(ProbabilitiesInvalid):
            curve(predicted, [0, 1])
    for labels in ([0], [0, 2]):
        with pytest.raises(LabelsInvalid):
            curve([0.1, 0.2], labels)
    with pytest.raises(RateInvalid):
        reliability_bins([0.1, 0.2], [0, 1], level=1.0)
