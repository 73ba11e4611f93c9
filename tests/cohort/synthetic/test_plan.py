import dataclasses
from collections import Counter

import numpy as np
from scipy.stats import ks_2samp

from pellucid.cohort import ScanKind, SynthesisConfig
from pellucid.cohort.synthetic.plan import SCANNERS, plan_cohort
from pellucid.core.digests import digest_json
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


def test_special_specimens_of_other_splits_leave_every_scan_before_them_as_it_was():
    config = SynthesisConfig(seed=2, n_training=3, n_tuning=2, n_certification=4, n_test=2)
    more = dataclasses.replace(
        config, special_tuning=((ScanKind.AMBIGUOUS, 2),), special_certification=((ScanKind.FOREIGN, 3),)
    )
    before, after = plan_cohort(config), plan_cohort(more)
    assert after[: len(before)] == before
    added = {plan.specimen: (plan.split, plan.kind) for plan in after[len(before) :]}
    assert Counter(added.values()) == {
        (Split.TUNING, ScanKind.AMBIGUOUS): 2,
        (Split.CERTIFICATION, ScanKind.FOREIGN): 3,
    }


def test_certification_and_test_specimens_of_one_mix_are_of_one_population():
    mix = ((ScanKind.AMBIGUOUS, 100), (ScanKind.TUMOUR_FREE, 50))
    plans = plan_cohort(
        SynthesisConfig(
            seed=4, n_training=0, n_tuning=0, n_certification=600, n_test=600, special=mix, special_certification=mix
        )
    )
    groups = {split: [plan for plan in plans if plan.split is split] for split in (Split.CERTIFICATION, Split.TEST)}
    for measured in ("strength", "lean", "side_px"):
        values = [[getattr(plan, measured) for plan in group] for group in groups.values()]
        assert ks_2samp(*values).pvalue > 0.01, measured
    for named in ("kind", "label", "site", "specimen_type", "scanner", "mpp", "generic_tiff"):
        shares = [Counter(getattr(plan, named) for plan in group) for group in groups.values()]
        for value in shares[0] | shares[1]:
            one, other = (count[value] / count.total() for count in shares)
            assert abs(one - other) < 0.07, (named, value)


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


def test_what_a_seed_planned_before_it_plans_still():
    plans = plan_cohort(SynthesisConfig(seed=3, n_certification=4))
    told = [[plan.name, plan.patient, plan.label, f"{plan.strength:.9f}", plan.layout, plan.side_px] for plan in plans]
    assert digest_json(told).startswith("550528bb21f33cc7")
