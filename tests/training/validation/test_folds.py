from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.training.validation import FoldsImpossible, PatientLeaks, StratumUnknown, Validation
from pellucid.training.validation.folds import (
    Member,
    OuterFold,
    deal,
    members_of,
    patients_needed,
    plan_folds,
    require_apart,
)


def patients(labels, scans=1, strata=None):
    return [
        Member(patient=f"P{nth}", label=label, stratum=strata[nth] if strata else None)
        for nth, label in enumerate(labels)
        for _ in range(scans)
    ]


@st.composite
def cohorts(draw):
    """Scans of several patients, some with several scans, some with both labels, in random order."""
    members = []
    for label in (0, 1):
        for nth in range(draw(st.integers(8, 30))):
            labels = [*draw(st.lists(st.integers(0, label), max_size=3)), label]
            members += [Member(patient=f"P{label}-{nth}", label=one) for one in labels]
    return draw(st.permutations(members))


plans = st.builds(Validation, outer_folds=st.integers(2, 5), inner_folds=st.integers(2, 4), seeds=st.integers(1, 2))


@settings(max_examples=40, deadline=None)
@given(cohorts(), plans, st.integers(0, 5))
def test_no_patient_is_in_two_folds_and_each_scan_is_tested_once_a_seed(members, validation, seed):
    plan = plan_folds(members, validation, seed)
    assert len(plan) == validation.seeds * validation.outer_folds
    for repeat in range(validation.seeds):
        tested = [index for fold in plan if fold.seed == repeat for index in fold.test]
        assert sorted(tested) == list(range(len(members)))
    for fold in plan:
        homes = defaultdict(set)
        for number, part in enumerate([fold.test, *fold.inner]):
            for index in part:
                homes[members[index].patient].add(number)
        assert all(len(found) == 1 for found in homes.values())
        assert sorted([*fold.test, *fold.training]) == list(range(len(members)))


@settings(max_examples=40, deadline=None)
@given(cohorts(), plans, st.integers(0, 5))
def test_classes_are_spread_over_folds_within_one_patient(members, validation, seed):
    positive = {one.patient for one in members if one.label == 1}
    for fold in plan_folds(members, validation, seed):
        siblings = [one.test for one in plan_folds(members, validation, seed) if one.seed == fold.seed]
        for folds in (siblings, fold.inner):
            for is_positive in (True, False):
                counts = [
                    len({members[i].patient for i in part if (members[i].patient in positive) is is_positive})
                    for part in folds
                ]
                assert min(counts) >= 1
                assert max(counts) - min(counts) <= 1


@settings(max_examples=40, deadline=None)
@given(cohorts(), plans)
def test_inner_folds_never_see_patients_of_the_outer_test(members, validation):
    for fold in plan_folds(members, validation, 0):
        tested = {members[index].patient for index in fold.test}
        assert tested.isdisjoint(members[index].patient for part in fold.inner for index in part)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 9), st.integers(0, 1)), min_size=30, max_size=90))
def test_neither_a_stratum_nor_a_patient_with_several_strata_is_parted(rows):
    members = [Member(patient=f"P{p}", label=label, stratum=f"S{s}") for p, s, label in rows]
    validation = Validation(outer_folds=2, inner_folds=2, group="site")
    try:
        folds = deal(members, range(len(members)), 2, parts=("test",), validation=validation)
    except FoldsImpossible:
        # all hang together, or one class does
        return
    for key in ("patient", "stratum"):
        first, second = ({getattr(members[i], key) for i in fold} for fold in folds)
        assert first.isdisjoint(second)


def test_a_leaked_patient_or_stratum_is_caught():
    members = patients([0, 1] * 10, scans=2, strata=[f"S{nth % 5}" for nth in range(20)])
    (fold, *_) = plan_folds(members, Validation(outer_folds=2, inner_folds=2, group="site"), 0)
    require_apart(members, [fold.test, *fold.inner])
    twin = next(i for i in fold.inner[0])
    leaking = OuterFold(seed=0, number=0, test=(*fold.test, twin), inner=fold.inner)
    with pytest.raises(PatientLeaks, match="more than one fold"):
        require_apart(members, [leaking.test, *leaking.inner])
    # another scan of one site, of a patient who is nowhere else
    stranger = Member(patient="new", label=0, stratum=members[fold.inner[0][0]].stratum)
    with pytest.raises(PatientLeaks, match="1 patients or strata"):
        require_apart([*members, stranger], [(*fold.test, len(members)), *fold.inner])


def test_seeds_deal_differently_and_the_same_seed_alike():
    members = patients([0, 1] * 15)
    validation = Validation(outer_folds=3, inner_folds=2, seeds=2)
    plan = plan_folds(members, validation, 4)
    assert plan == plan_folds(members, validation, 4)
    assert {fold.test for fold in plan if fold.seed == 0}.isdisjoint(fold.test for fold in plan if fold.seed == 1)
    assert plan != plan_folds(members, validation, 5)


@pytest.mark.parametrize(("outer", "inner"), [(2, 2), (5, 3), (3, 5), (10, 2)])
def test_as_many_patients_as_are_said_to_be_needed_do_and_one_less_does_not(outer, inner):
    validation = Validation(outer_folds=outer, inner_folds=inner)
    needed = patients_needed(validation)
    assert plan_folds(patients([1] * needed + [0] * 40), validation, 0)
    with pytest.raises(FoldsImpossible, match=f"40 negative.*at least {needed} patients of each class") as caught:
        plan_folds(patients([1] * (needed - 1) + [0] * 40), validation, 0)
    assert "folds would lack a class" in caught.value.message


def test_strata_that_cannot_be_spread_are_refused_by_name():
    members = patients([1] * 20 + [0] * 20, strata=["one"] * 20 + ["other"] * 20)
    with pytest.raises(FoldsImpossible, match="spread over enough values of 'site'"):
        plan_folds(members, Validation(outer_folds=2, inner_folds=2, group="site"), 0)


def test_scans_without_the_stratum_are_counted_and_the_known_ones_are_named(entries):
    rows = [entries(0, strata=(("site", "A"),)), entries(1, strata=(("scanner", "X"),))]
    assert members_of(rows, "patient")[0] == Member(patient="P0", label=0)
    with pytest.raises(StratumUnknown, match="1 of 2 scans have no 'site', such as slide S1; known are patient, sc"):
        members_of(rows, "site")
