from dataclasses import replace

import pytest

from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, Split
from pellucid.training import CohortUntrainable, ScanUnfit, SlidesUnusable, TrainingConfig
from pellucid.training.scans import ScanLeftOut, each_scan
from pellucid.training.survey import check_cohort, require_enough


@pytest.fixture
def cohort(entries):
    rows = [entries(n, n % 2, Split.TRAINING if n < 6 else Split.TUNING) for n in range(10)]
    return Cohort(entries=tuple(rows), name="small")


def changed(cohort, row, **changes):
    rows = list(cohort.entries)
    rows[row] = replace(rows[row], **changes)
    return replace(cohort, entries=tuple(rows))


def test_good_cohort_passes(cohort):
    check_cohort(cohort)


@pytest.mark.parametrize("split", [Split.TRAINING, Split.TUNING])
def test_empty_split_is_named(cohort, split):
    rest = tuple(entry for entry in cohort.entries if entry.split is not split)
    with pytest.raises(CohortUntrainable, match=f"no row is in the split {split.value}"):
        check_cohort(replace(cohort, entries=rest))


def test_every_problem_is_listed_at_once(cohort):
    bad = changed(cohort, 0, label=None)
    bad = changed(bad, 9, patient="P1", label=0)
    bad = changed(bad, 7, label=0)
    with pytest.raises(CohortUntrainable) as caught:
        check_cohort(bad)
    message = caught.value.message
    assert "row 2 (slide S0) is in the split training and has no label" in message
    assert "every label of the split tuning is 0" in message
    assert "patient P1 is in the splits training, tuning" in message


def test_scans_of_one_specimen_must_agree(cohort):
    with pytest.raises(CohortUntrainable, match="specimen C0-A have different labels"):
        check_cohort(changed(cohort, 1, specimen="C0-A"))


def test_label_missing_in_another_split_is_no_problem(cohort, entries):
    test_row = entries(20, None, Split.TEST)
    check_cohort(replace(cohort, entries=(*cohort.entries, test_row)))


def test_failed_scan_is_recorded_and_the_others_keep_their_order(entries):
    def work(entry):
        if entry.slide == "S2":
            raise ScanUnfit("The scan is out of focus.")
        return entry.slide

    seen = []
    results, left_out = each_scan(
        [entries(n) for n in range(5)],
        work,
        entry_of=lambda entry: entry,
        stage="survey",
        workers=2,
        progress=lambda *step: seen.append(step),
    )
    assert results == ["S0", "S1", "S3", "S4"]
    assert [str(item) for item in left_out] == ["S2 (row 4): [PEL-TRAIN-005] The scan is out of focus."]
    assert seen == [("survey", n, 5) for n in range(1, 6)]


def test_error_without_a_code_ends_all(entries):
    def work(entry):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each_scan([entries(0)], work, entry_of=lambda e: e, stage="survey", workers=2, progress=lambda *_: None)


def left_out(entries, count):
    return [ScanLeftOut.because(entries(90 + n), "survey", ScanUnfit("Blurred.")) for n in range(count)]


def test_too_many_failures_stop_the_training_and_name_the_slides(scans, entries):
    usable = [scans(n, n % 2, split) for split in (Split.TRAINING, Split.TUNING) for n in range(3)]
    require_enough(usable, left_out(entries, 2), TrainingConfig())
    with pytest.raises(SlidesUnusable, match=r"3 of 9 slides are unusable.*S90.*PEL-TRAIN-005") as caught:
        require_enough(usable, left_out(entries, 3), TrainingConfig())
    assert isinstance(caught.value, PellucidError)


def test_class_that_is_gone_with_the_failures_stops_the_training(scans, entries):
    usable = [scans(n, 0, Split.TRAINING) for n in range(8)] + [scans(n, n % 2, Split.TUNING) for n in range(8)]
    with pytest.raises(SlidesUnusable, match="no training slide with label 1 is left"):
        require_enough(usable, left_out(entries, 1), TrainingConfig())
