import numpy as np
import pytest

from pellucid.statistics.bootstrap import patient_bootstrap
from pellucid.statistics.errors import BootstrapImpossible, LabelsInvalid, OneClass
from pellucid.statistics.metrics import auroc, brier


def sample(n_patients, cases_each=1, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 2, size=n_patients), cases_each)
    scores = 1 / (1 + np.exp(-np.repeat(rng.normal(size=n_patients), cases_each) - labels))
    return scores, labels, [f"p{index}" for index in np.repeat(np.arange(n_patients), cases_each)]


def test_the_interval_holds_the_estimate_and_says_what_it_rests_on():
    interval = patient_bootstrap(auroc, *sample(80, 2), n_resamples=300)
    assert interval.low < interval.estimate < interval.high
    assert interval.estimate == auroc(*sample(80, 2)[:2])
    assert (interval.n_patients, interval.n_resamples, interval.n_undefined, interval.level) == (80, 300, 0, 0.95)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_cases():
    scores, labels, patients = sample(50, 2)
    order = np.random.default_rng(1).permutation(100)
    first = patient_bootstrap(auroc, scores, labels, patients, n_resamples=200)
    moved = patient_bootstrap(
        auroc, scores[order], labels[order], [patients[index] for index in order], n_resamples=200
    )
    assert first == moved
    assert first != patient_bootstrap(auroc, scores, labels, patients, n_resamples=200, seed=1)


def test_copies_of_a_patients_case_do_not_narrow_the_interval():
    once = patient_bootstrap(brier, *sample(60, 1), n_resamples=500)
    copied = patient_bootstrap(brier, *sample(60, 8), n_resamples=500)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(150):
        p = rng.uniform(size=120)
        labels = (rng.random(120) < p).astype(int)
        interval = patient_bootstrap(
            brier, p, labels, [str(index) for index in range(120)], n_resamples=200, level=0.9, seed=seed
        )
        covered += interval.low <= 1 / 6 <= interval.high
    assert 0.82 <= covered / 150 <= 0.97


def test_resamples_of_one_class_are_left_out_and_counted():
    scores, labels = np.linspace(0, 1, 12), np.array([0] * 10 + [1] * 2)
    interval = patient_bootstrap(auroc, scores, labels, [str(index) for index in range(12)], n_resamples=400)
    assert interval.n_undefined > 0
    assert interval.n_resamples + interval.n_undefined == 400


def test_what_cannot_be_resampled_is_refused():
    scores, labels, patients = sample(20)
    with pytest.raises(BootstrapImpossible):
        patient_bootstrap(brier, scores, labels, ["same"] * 20)
    with pytest.raises(BootstrapImpossible):
        patient_bootstrap(brier, scores, labels, patients, n_resamples=10)
    with pytest.raises(LabelsInvalid):
        patient_bootstrap(brier, scores, labels, patients[1:])
    with pytest.raises(OneClass):
        patient_bootstrap(auroc, scores, np.ones(20), patients)
    with pytest.raises(BootstrapImpossible, match="one class"):
        patient_bootstrap(auroc, [0.1, 0.9], [0, 1], ["one", "two"], seed=5, n_resamples=101)
