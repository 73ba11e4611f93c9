from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.cohort import SplitInvalid, split_by_patient
from pellucid.domain.cohort import Cohort, ScanEntry, Split

HALVES = {Split.TRAINING: 0.5, Split.TEST: 0.5}


def cohort_of(patients, scans=1):
    entries = [
        ScanEntry(
            case=f"C{name}",
            specimen=f"S{name}",
            block="",
            slide=f"{name}-{nth}",
            path=Path(f"{name}-{nth}.svs"),
            patient=name,
            label=label,
        )
        for name, label in patients
        for nth in range(scans)
    ]
    return Cohort(entries=tuple(entries), name="x", digest="old")


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1, None]), min_size=12, max_size=60),
    scans=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_no_patient_is_in_two_splits_and_shares_are_met(labels, scans, seed):
    fractions = {Split.TRAINING: 0.5, Split.TUNING: 0.25, Split.TEST: 0.25}
    found = split_by_patient(cohort_of([(f"P{n:03}", label) for n, label in enumerate(labels)], scans), fractions, seed)
    splits: dict[str, set[Split]] = {}
    for entry in found.entries:
        splits.setdefault(entry.patient, set()).add(entry.split)
    assert all(len(of_patient) == 1 for of_patient in splits.values())
    for split, share in fractions.items():
        assert abs(sum(of == {split} for of in splits.values()) - share * len(labels)) <= 1.5


def test_labels_are_spread_in_like_proportion():
    found = split_by_patient(cohort_of([(f"P{n:03}", int(n % 5 == 0)) for n in range(100)]), HALVES, 1)
    for split in HALVES:
        assert sum(entry.label for entry in found.in_split(split)) == 10


def test_the_order_of_rows_does_not_matter_but_the_seed_does():
    patients = [(f"P{n:03}", n % 2) for n in range(40)]
    by_patient = [
        {entry.patient: entry.split for entry in split_by_patient(cohort_of(rows), HALVES, seed).entries}
        for rows, seed in ((patients, 1), (patients[::-1], 1), (patients, 2))
    ]
    assert by_patient[0] == by_patient[1]
    assert by_patient[0] != by_patient[2]


def test_the_digest_of_the_old_table_is_dropped():
    assert split_by_patient(cohort_of([("A", 1), ("B", 0)]), HALVES, 0).digest == ""


@pytest.mark.parametrize(
    "fractions", [{}, {Split.TEST: 0.9}, {Split.TEST: 1.5, Split.TRAINING: -0.5}, {Split.TEST: float("nan")}]
)
def test_shares_that_make_no_sense_are_refused(fractions):
    with pytest.raises(SplitInvalid):
        split_by_patient(cohort_of([("A", 1), ("B", 0)]), fractions, 0)


def test_too_few_patients_are_refused_by_name_of_the_empty_split():
    with pytest.raises(SplitInvalid, match="test"):
        split_by_patient(cohort_of([("A", 1)]), {Split.TRAINING: 0.8, Split.TEST: 0.2}, 0)
