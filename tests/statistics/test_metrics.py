import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from pellucid.statistics import metrics
from pellucid.statistics.errors import LabelsInvalid, OneClass, ProbabilitiesInvalid

# few distinct values, so that ties abound
cases = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 1)), min_size=2, max_size=40
)


def split(pairs):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    assume(0 < labels.sum() < labels.size)
    return scores, labels


@given(cases)
def test_auroc_is_the_mann_whitney_statistic_with_ties_as_halves(pairs):
    scores, labels = split(pairs)
    positive, negative = scores[labels == 1], scores[labels == 0]
    statistic = mannwhitneyu(positive, negative).statistic / (positive.size * negative.size)
    assert metrics.auroc(scores, labels) == pytest.approx(statistic, abs=1e-14)


@given(cases, st.randoms(use_true_random=False))
def test_ranking_metrics_ignore_order_and_scale(pairs, random):
    scores, labels = split(pairs)
    moved_scores, moved_labels = split(random.sample(pairs, len(pairs)))
    for metric in (metrics.auroc, metrics.average_precision):
        assert metric(scores, labels) == pytest.approx(metric(moved_scores, moved_labels), abs=1e-14)
        assert metric(scores, labels) == metric(np.exp(3 * scores) - 7, labels)
    assert metrics.auroc(scores, labels) == pytest.approx(1 - metrics.auroc(-scores, labels), abs=1e-15)


def test_known_values():
    labels, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    assert metrics.auroc(scores, labels) == 0.75
    assert metrics.average_precision(scores, labels) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert metrics.brier(scores, labels) == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert metrics.log_loss(scores, labels) == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert metrics.balanced_accuracy(scores, labels) == 0.75
    assert metrics.auroc([0.5] * 4, labels) == 0.5
    assert metrics.average_precision([0.5] * 4, labels) == 0.5


@given(cases)
def test_average_precision_is_the_sum_over_distinct_thresholds(pairs):
    scores, labels = split(pairs)
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        new = labels[called].sum() / labels.sum()
        area, recall = area + (new - recall) * labels[called].mean(), new
    assert metrics.average_precision(scores, labels) == pytest.approx(area)


def test_a_certain_error_costs_much_but_not_infinity():
    assert metrics.log_loss([1.0], [0]) == pytest.approx(36.04, abs=0.01)
    assert metrics.log_loss([1.0, 0.0], [1, 0]) == 0


def test_a_probability_of_one_half_is_called_positive():
    assert metrics.balanced_accuracy([0.5, 0.49], [1, 0]) == 1.0
    assert metrics.balanced_accuracy([0.5, 0.49], [1, 0], threshold=0.6) == 0.5


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.balanced_accuracy])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_no_ranking(metric, label):
    with pytest.raises(OneClass, match=f"are {label}"):
        metric([0.2, 0.3], [label, label])


def test_average_precision_needs_a_positive():
    with pytest.raises(OneClass):
        metrics.average_precision([0.2, 0.3], [0, 0])


def test_calibrated_probabilities_have_no_calibration_error():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        p = rng.beta(1, 2, size=300)
        errors.append(metrics.ece(p, (rng.random(300) < p).astype(int)))
    # without the correction ten bins of 30 cases would show sqrt(mean p (1 - p) / 30), about 0.07
    assert np.sqrt(np.mean(np.square(errors))) < 0.04


def test_a_known_calibration_error_is_found():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.2, 0.7, size=100_000)
    labels = (rng.random(p.size) < p + 0.1).astype(int)
    assert metrics.ece(p, labels) == pytest.approx(0.1, abs=0.005)
    assert metrics.ece(p, labels, n_bins=1) == pytest.approx(0.1, abs=0.005)


def test_calibration_error_matches_its_formula_by_hand():
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    y = np.array([0, 1, 0, 1, 1, 0])
    square = sum(
        0.5 * ((p[part].mean() - y[part].mean()) ** 2 - y[part].mean() * (1 - y[part].mean()) / 2)
        for part in (slice(0, 3), slice(3, 6))
    )
    assert metrics.ece(p, y, n_bins=2) == pytest.approx(np.sqrt(max(0, square)))


@given(cases, st.integers(1, 15), st.randoms(use_true_random=False))
def test_calibration_error_is_defined_and_ignores_order(pairs, n_bins, random):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    moved_scores, moved_labels = (np.array(column) for column in zip(*random.sample(pairs, len(pairs)), strict=True))
    error = metrics.ece(scores, labels, n_bins=n_bins)
    assert 0 <= error <= 1
    assert error == pytest.approx(metrics.ece(moved_scores, moved_labels, n_bins=n_bins), abs=1e-6)


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), min_size=1, max_size=60), st.integers(1, 20))
def test_bins_keep_ties_together_and_cover_every_case(values, n_bins):
    ordered = np.sort(values)
    edges = metrics.bin_edges(ordered, n_bins)
    assert edges[0] == 0
    assert edges[-1] == ordered.size
    assert len(edges) - 1 <= n_bins
    assert ordered.size == 1 or (np.diff(edges) >= 2).all()
    assert all(ordered[cut - 1] < ordered[cut] for cut in edges[1:-1])


@pytest.mark.parametrize("wrong", [[0.5, 1.2], [0.5, -0.1], [0.5, np.nan], [[0.5, 0.5]], []])
def test_what_is_no_probability_is_refused(wrong):
    for metric in (metrics.brier, metrics.log_loss, metrics.ece, metrics.balanced_accuracy):
        with pytest.raises(ProbabilitiesInvalid):
            metric(wrong, [0, 1])


@pytest.mark.parametrize("wrong", [[0], [0, 2], [0, np.nan], [[0, 1]]])
def test_what_is_no_label_is_refused(wrong):
    for metric in (metrics.auroc, metrics.brier):
        with pytest.raises(LabelsInvalid):
            metric([0.5, 0.6], wrong)
