from collections import Counter

import numpy as np

from pellucid.cohort import ScanKind, SynthesisConfig
from pellucid.cohort.synthetic.plan import SCANNERS, plan_cohort
from pellucid.domain.cohort import Split

PLANS = plan_cohort(SynthesisConfig(seed=2, n_training=200, n_tuning=40, n_test=40))


def test_the_counts_are_those_asked_for():
    specimens = {plan.specimen: plan for plan in PLANS}.values()
    assert Counter(plan.split for plan in specimens if plan.kind is ScanKind.CLEAR) == {
        Split.TRAINING: 200,
        Split.TUNING: 40,
        Split.TEST: 40,
    }
    special = Counter(plan.kind for plan in specimens if plan.kind is not ScanKind.CLEAR)
    assert special == dict(SynthesisConfig().special)
    assert all(plan.split is Split.TEST for plan in specimens if plan.kind is not ScanKind.CLEAR)


def test_names_are_unique_and_say_nothing_of_the_scan():
    names = [plan.name for plan in PLANS]
    assert len(set(names)) == len(names)
    for plan in PLANS:
        assert plan.case not in plan.name
        assert plan.kind.value not in plan.name


def test_a_patient_has_one_split_and_one_label():
    for field in ("split", "label"):
        values: dict[str, set[object]] = {}
        for plan in PLANS:
            values.setdefault(plan.patient, set()).add(getattr(plan, field))
        assert all(len(found) == 1 for found in values.values())
    assert len({plan.patient for plan in PLANS}) < len({plan.specimen for plan in PLANS})


def test_the_prevalence_is_met_in_every_split():
    for split in (Split.TRAINING, Split.TUNING, Split.TEST):
        specimens = {p.specimen: p.label for p in PLANS if p.split is split and p.kind is ScanKind.CLEAR}
        assert abs(np.mean(list(specimens.values())) - 0.45) < 0.06


def test_the_lean_ranks_labels_as_well_as_promised_and_no_better():
    clear = {plan.specimen: plan for plan in PLANS if plan.kind is ScanKind.CLEAR}.values()
    mutated = np.array([plan.lean for plan in clear if plan.label == 1])
    wild = np.array([plan.lean for plan in clear if plan.label == 0])
    auroc = (mutated[:, None] > wild[None, :]).mean() + 0.5 * (mutated[:, None] == wild[None, :]).mean()
    assert 0.87 < auroc < 0.98


def test_ambiguous_scans_lean_nowhere():
    assert all(abs(plan.strength) <= 0.1 for plan in PLANS if plan.kind is ScanKind.AMBIGUOUS)


def test_some_specimens_have_two_scans_some_of_them_of_one_glass_slide():
    pairs: dict[str, list[object]] = {}
    for plan in PLANS:
        pairs.setdefault(plan.specimen, []).append(plan)
    several = [plans for plans in pairs.values() if len(plans) > 1]
    rescans = [plans for plans in several if plans[0].slide == plans[1].slide]
    assert 0 < len(rescans) < len(several)
    for first, second in rescans:
        assert first.layout == second.layout
        assert first.scanner != second.scanner
        assert first.side_px * first.mpp == second.side_px * second.mpp


def test_scanner_tells_nothing_of_the_label():
    clear = [plan for plan in PLANS if plan.kind is ScanKind.CLEAR]
    for scanner in SCANNERS:
        assert 0.3 < np.mean([plan.label for plan in clear if plan.scanner == scanner]) < 0.6


def test_the_plan_is_a_function_of_the_seed():
    assert plan_cohort(SynthesisConfig(seed=2)) == plan_cohort(SynthesisConfig(seed=2))
    assert plan_cohort(SynthesisConfig(seed=2)) != plan_cohort(SynthesisConfig(seed=3))
