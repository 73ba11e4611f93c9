"""The tuning record: what production's gates would say of each tuning specimen, and whose they were, unsaid."""

from dataclasses import replace

import numpy as np
import pytest

from pellucid.core.digests import salted_digest
from pellucid.core.seeds import generator
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.tumour import TumourHead
from pellucid.training import TrainingConfig
from pellucid.training.calibrate import Answer, calibrate, describe_reference
from pellucid.training.tuning import Gating, digest_patients, tuning_specimens

CONFIG = TrainingConfig(n_passes=10)


def answer(item, sd=1.0):
    draw = generator("tuning", item.scan.entry.slide)
    logits = 3 * (2 * item.scan.label - 1) + 4 * draw.normal() + sd * draw.normal(size=10)
    return Answer(item=item, logits=logits, embedding=draw.normal(size=16).astype(np.float32))


@pytest.fixture
def answers(bags):
    """Thirty specimens of one scan each."""
    return [answer(bags(n, n % 2, Split.TUNING)) for n in range(30)]


@pytest.fixture
def specimens(bags, answers):
    """The tuning record, as the gates are changed or scans expected that aren't there."""

    def make(found=answers, expected=None, tumour=None, **limits):
        calibration, tuned = calibrate(found, CONFIG)
        training = [answer(bags(n, n % 2)) for n in range(100, 140)]
        reference = describe_reference(training, found, tuned, calibration, CONFIG)
        reference = replace(reference, **({"sd_limit": 1e9, "distance_limit": 1e9} | limits))
        counts = {one.specimen: 1 for one in tuned} | (expected or {})
        gating = Gating(calibration=calibration, reference=reference, tumour=tumour, synthetic=True, expected=counts)
        return tuned, tuning_specimens(found, tuned, gating)

    return make


def test_each_specimen_is_there_once_with_its_calibrated_logits_and_in_no_telling_order(specimens):
    tuned, record = specimens()
    assert [one.mean_logit for one in record] == sorted(one.posterior.mean_logit for one in tuned)
    by_mean = {one.posterior.mean_logit: one for one in tuned}
    for one in record:
        posterior = by_mean[one.mean_logit].posterior
        calibrated = np.array(posterior.logits) / posterior.temperature
        assert (one.low_logit, one.high_logit) == pytest.approx(tuple(np.quantile(calibrated, [0.05, 0.95])))
        assert (one.sd_logit, one.label) == (posterior.sd_logit, by_mean[one.mean_logit].label)
    assert all(one.passed for one in record)


def test_a_specimen_that_is_too_uncertain_does_not_pass(specimens):
    spreads = sorted(one.sd_logit for one in specimens()[1])
    _, record = specimens(sd_limit=spreads[19])
    assert sum(one.passed for one in record) == 20
    assert all(one.passed == (one.sd_logit <= spreads[19]) for one in record)


def test_a_specimen_far_from_the_training_slides_does_not_pass(specimens):
    assert not any(one.passed for one in specimens(distance_limit=0.0)[1])


def test_a_specimen_without_tumour_does_not_pass(specimens):
    head = TumourHead(weights=(0.0,) * 8, bias=-1.0, threshold=0.5, limit=0.1, n_tiles=100, auroc=None)
    assert not any(one.passed for one in specimens(tumour=head)[1])
    assert all(one.passed for one in specimens(tumour=replace(head, bias=1.0))[1])


def test_a_specimen_of_which_a_scan_was_left_out_does_not_pass(specimens):
    _, record = specimens(expected={"C4-A": 2, "C5-A": 2})
    assert sum(one.passed for one in record) == 28


def test_a_specimen_whose_scans_contradict_each_other_does_not_pass(bags, answers, specimens):
    rescan = bags(40, 0, Split.TUNING, specimen="C0-A", patient="P0")
    sure = replace(answers[0], logits=np.full(10, -40.0) + np.arange(10))
    found = [sure, *answers[1:], Answer(item=rescan, logits=-sure.logits, embedding=sure.embedding)]
    _, record = specimens(found, expected={"C0-A": 2})
    assert sum(one.passed for one in record) == 29


def test_digests_are_of_every_patient_of_both_splits_and_of_no_other(entries):
    rows = (
        entries(1),
        entries(2, 1),
        entries(3, patient="P1"),
        entries(4, split=Split.TUNING),
        entries(5, split=Split.TEST),
        entries(6, split=None),
    )
    cohort = Cohort(entries=rows, name="c")
    found = digest_patients(cohort)
    assert found.training == tuple(sorted(salted_digest(found.salt, name) for name in ("P1", "P2")))
    assert found.tuning == (salted_digest(found.salt, "P4"),)


def test_no_two_bundles_share_a_salt(entries):
    cohort = Cohort(entries=(entries(1), entries(4, split=Split.TUNING)), name="c")
    first, other = digest_patients(cohort), digest_patients(cohort)
    assert first.salt != other.salt
    assert first.training != other.training
