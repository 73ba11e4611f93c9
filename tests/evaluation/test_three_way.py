"""The table of answers, counted by hand, and how the intervals of shares are made."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assessed import POLICY, known_table, specimen
from pellucid.domain.decision import Verdict
from pellucid.evaluation.measures import IntervalKind, Resampling, share
from pellucid.evaluation.three_way import three_way
from pellucid.statistics.exact import clopper_pearson

FEW = Resampling(n=200)


def test_every_specimen_is_in_the_table_once_and_the_shares_follow():
    table = three_way(known_table(), FEW)
    counted = {row.verdict: (row.mutated, row.wild_type, row.unknown) for row in table.rows}
    assert counted == {
        Verdict.NEGATIVE: (1, 6, 1),
        Verdict.UNDETERMINED: (3, 4, 0),
        Verdict.POSITIVE: (3, 1, 0),
    }
    shares = {
        "npv": (6, 7),
        "ppv": (3, 4),
        "sensitivity": (3, 4),
        "specificity": (6, 7),
        "found": (3, 7),
        "cleared": (6, 11),
        "missed": (1, 7),
        "coverage": (11, 18),
        "missed_of_tested": (1, 18),
        "tests_saved": (7, 18),
    }
    assert {name: (getattr(table, name).k, getattr(table, name).n) for name in shares} == shares
    assert table.npv.interval is IntervalKind.EXACT
    assert (table.npv.low, table.npv.high) == clopper_pearson(6, 7)


def test_without_a_certificate_nothing_is_decided_and_no_predictive_value_exists():
    bare = replace(POLICY, certificates=(), model=None, gates=None)
    table = three_way([specimen(str(nth), -3.0, 0, policy=bare) for nth in range(4)], FEW)
    assert table.coverage.k == 0
    assert table.npv.value is None
    assert (table.npv.low, table.npv.high) == (0.0, 1.0)
    assert table.tests_saved.high == pytest.approx(clopper_pearson(0, 4)[1])


def test_several_specimens_of_a_patient_widen_the_interval():
    # ten patients with ten specimens each, of one kind within a patient: ten facts, not a hundred
    many = [
        specimen(f"{patient}-{nth}", -3.0, int(patient < 3), patient=f"P{patient}")
        for patient in range(10)
        for nth in range(10)
    ]
    together = share(many, lambda one: one.label == 0, Resampling(n=1000))
    assert (together.k, together.n, together.n_patients) == (70, 100, 10)
    assert together.interval is IntervalKind.BY_PATIENT
    exact = clopper_pearson(70, 100)
    assert together.high - together.low > 1.8 * (exact[1] - exact[0])


@pytest.mark.parametrize("label", [0, 1])
def test_none_or_all_of_several_a_patient_is_no_certainty(label: int):
    many = [specimen(f"{nth}", -3.0, label, patient=f"P{nth // 5}") for nth in range(20)]
    found = share(many, lambda one: one.label == 0, FEW)
    assert found.interval is IntervalKind.EXACT_OVER_PATIENTS
    assert (found.low, found.high) == clopper_pearson(4 if label == 0 else 0, 4)


def test_one_patient_alone_shows_nothing_of_others():
    mixed = [specimen(f"{nth}", -3.0, nth % 2, patient="P") for nth in range(4)]
    found = share(mixed, lambda one: one.label == 0, FEW)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12), st.randoms())
def test_the_order_of_the_specimens_makes_no_difference(drawn, shuffler):
    made = [specimen(f"{nth}", -3.0, int(hit), patient=f"P{who}") for nth, (hit, who) in enumerate(drawn)]
    other = list(made)
    shuffler.shuffle(other)
    one, two = (share(each, lambda which: which.label == 1, Resampling(n=100)) for each in (made, other))
    assert one == two
    assert one.low <= one.k / one.n <= one.high
