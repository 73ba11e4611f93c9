from functools import partial
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pellucid.statistics.bootstrap import patient_bootstrap
from pellucid.statistics.errors import LabelsInvalid, OneClass, ProbabilitiesInvalid, RateInvalid
from pellucid.statistics.selective import augrc, aurc, e_aurc, failure_auroc, risk_coverage, selective_accuracy

tied = st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.integers(0, 1)), min_size=1, max_size=40)
METRICS = (aurc, e_aurc, augrc, selective_accuracy)


def split(pairs):
    confidence, correct = (np.array(column) for column in zip(*pairs, strict=True))
    return confidence, correct


def by_definition(correct):
    """AURC and AUGRC of answers in the order of their confidence."""
    errors = np.cumsum(1 - np.array(correct))
    counts = np.arange(1, len(correct) + 1)
    return np.mean(errors / counts), np.mean(errors / len(correct))


@given(st.lists(st.integers(0, 1), min_size=1, max_size=60))
def test_areas_follow_their_definitions_where_no_confidence_is_shared(correct):
    confidence = -np.arange(float(len(correct)))
    area, generalised = by_definition(correct)
    assert aurc(confidence, correct) == pytest.approx(area)
    assert augrc(confidence, correct) == pytest.approx(generalised)


@given(st.lists(st.tuples(st.sampled_from([0.2, 0.7]), st.integers(0, 1)), min_size=1, max_size=6))
def test_ties_count_as_the_mean_over_all_their_orders(pairs):
    confidence, correct = split(pairs)
    areas = []
    for order in permutations(range(len(pairs))):
        ranked = sorted(order, key=lambda row: -confidence[row])
        areas.append(by_definition(correct[ranked]))
    assert (aurc(confidence, correct), augrc(confidence, correct)) == pytest.approx(tuple(np.mean(areas, axis=0)))


@given(tied)
def test_augrc_is_a_function_of_failure_auroc_and_accuracy(pairs):
    confidence, correct = split(pairs)
    assume(0 < correct.sum() < correct.size)
    accuracy = correct.mean()
    identity = (1 - failure_auroc(confidence, correct)) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert abs(augrc(confidence, correct) - identity) <= 1 / (2 * correct.size) + 1e-12


@given(tied, st.randoms(use_true_random=False))
def test_only_the_ranking_counts(pairs, random):
    confidence, correct = split(pairs)
    moved = split(random.sample(pairs, len(pairs)))
    for metric in METRICS:
        assert metric(confidence, correct) == metric(*moved)
        assert metric(np.exp(3 * confidence) - 5, correct) == metric(confidence, correct)


@given(tied)
def test_the_excess_is_zero_for_the_best_ranking_and_never_below(pairs):
    confidence, correct = split(pairs)
    assert e_aurc(correct.astype(float), correct) == pytest.approx(0, abs=1e-12)
    assert 0 <= e_aurc(confidence, correct) <= aurc(confidence, correct) + 1e-12


def test_the_excess_approaches_its_published_formula():
    rng = np.random.default_rng(0)
    correct = (rng.random(20_000) < 0.8).astype(int)
    confidence = rng.normal(correct, 1.0)
    accuracy = correct.mean()
    published = aurc(confidence, correct) - ((1 - accuracy) + accuracy * np.log(accuracy))
    assert e_aurc(confidence, correct) == pytest.approx(published, abs=1e-4)


@given(tied)
def test_the_curve_counts_every_case_at_least_as_confident(pairs):
    confidence, correct = split(pairs)
    curve = risk_coverage(confidence, correct)
    assert list(curve.thresholds) == sorted(set(confidence), reverse=True)
    for threshold, coverage, risk in zip(curve.thresholds, curve.coverage, curve.risk, strict=True):
        kept = confidence >= threshold
        assert coverage == pytest.approx(kept.mean())
        assert risk == pytest.approx(1 - correct[kept].mean())
    assert curve.coverage[-1] == 1


def test_known_values():
    confidence, correct = [0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1]
    assert aurc(confidence, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert augrc(confidence, correct) == pytest.approx((0 + 1 + 1 + 1) / 16)
    assert e_aurc(confidence, correct) == pytest.approx((0 + 1 / 2 + 1 / 3 + 0) / 4)
    assert failure_auroc(confidence, correct) == pytest.approx(1 / 3)
    assert selective_accuracy(confidence, correct, coverage=0.25) == 1.0
    assert selective_accuracy(confidence, correct, coverage=0.5) == 0.5
    assert selective_accuracy(confidence, correct, coverage=0.51) == pytest.approx(2 / 3)
    assert selective_accuracy(confidence, correct, coverage=1.0) == 0.75


def test_a_coverage_is_rounded_up_but_not_by_a_last_bit():
    correct = [1] * 7 + [0] * 3
    assert selective_accuracy(-np.arange(10.0), correct, coverage=0.7) == 1.0
    assert selective_accuracy(-np.arange(10.0), correct, coverage=0.1 + 0.2 + 0.4) == 1.0


def test_they_have_intervals_by_patient():
    rng = np.random.default_rng(0)
    correct = (rng.random(60) < 0.8).astype(int)
    confidence, patients = rng.normal(correct, 1.0), [f"p{index // 2}" for index in range(60)]
    for metric in (*METRICS, failure_auroc, partial(selective_accuracy, coverage=0.5)):
        interval = patient_bootstrap(metric, confidence, correct, patients, n_resamples=100)
        assert interval.low <= interval.estimate <= interval.high
        assert interval.low < interval.high


def test_answers_that_are_all_right_have_no_failure_ranking():
    assert aurc([0.5, 0.6], [1, 1]) == augrc([0.5, 0.6], [1, 1]) == 0
    with pytest.raises(OneClass):
        failure_auroc([0.5, 0.6], [1, 1])


@pytest.mark.parametrize("metric", [*METRICS, failure_auroc, risk_coverage])
def test_what_is_no_confidence_or_answer_is_refused(metric):
    for confidence in ([], [np.nan, 0.5], [[0.1, 0.2]]):
        with pytest.raises(ProbabilitiesInvalid):
            metric(confidence, [0, 1])
    for correct in ([0], [0, 2], [0, np.nan]):
        with pytest.raises(LabelsInvalid):
            metric([0.1, 0.2], correct)


@pytest.mark.parametrize("coverage", [0.0, 1.1, -0.5, np.nan])
def test_a_coverage_outside_its_range_is_refused(coverage):
    with pytest.raises(RateInvalid):
        selective_accuracy([0.5], [1], coverage=coverage)
