"""The whole report on populations of known truth, and on such as allow few figures or none."""

import json
import math
from dataclasses import replace

import pytest

from assessed import (
    CERTIFICATE,
    GATES,
    MISSED_CLAIM,
    POLICY,
    VERSIONS,
    assessment,
    known_table,
    population,
    specimen,
)
from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.reasons import Reason
from pellucid.evaluation.agreement import Agreement, PrevalenceState
from pellucid.evaluation.escalated import Held
from pellucid.evaluation.measures import Resampling
from pellucid.evaluation.report import EvaluatedModel, EvaluationReport, make_report
from pellucid.evaluation.selection import Confidence
from pellucid.statistics.metrics import auroc

MODEL = EvaluatedModel(bundle="demo", bundle_digest="b4" * 32, synthetic=True)
MADE = "2026-11-23T12:00:00.000Z"


def report(*specimens, policy=POLICY, n=100) -> EvaluationReport:
    return make_report(assessment(*specimens, policy=policy), MODEL, resampling=Resampling(n=n), made_at=MADE)


@pytest.fixture(scope="module")
def whole() -> EvaluationReport:
    return report(*population(200))


def test_the_report_is_plain_json_and_comes_back_as_it_was(whole):
    plain = to_plain(whole)
    text = json.dumps(plain, allow_nan=False)
    assert from_plain(EvaluationReport, json.loads(text)) == whole


def test_no_patient_and_no_specimen_is_named(whole):
    text = json.dumps(to_plain(whole))
    for one in population(200):
        assert one.patient not in text
        assert f'"{one.specimen}"' not in text
    assert population(200)[0].pseudonym not in {"", population(200)[0].specimen}


def test_figures_are_those_of_the_specimens_with_outcome_and_answer(whole):
    known = [one for one in population(200) if one.label is not None and one.posterior is not None]
    expected = auroc([one.posterior.mean_logit for one in known], [one.label for one in known])
    assert whole.ranking.auroc.value == expected
    assert whole.ranking.auroc.n == len(known)
    assert whole.ranking.auroc.low < expected < whole.ranking.auroc.high
    assert sum(one.n for one in whole.reliability.bins) == len(known)
    assert sum(whole.histograms.mutated) + sum(whole.histograms.wild_type) == len(known)
    counts = whole.evaluated
    assert counts.n_mutated + counts.n_wild_type + counts.n_unknown == counts.n_specimens == 200
    assert counts.n_scans_failed == 200 - counts.n_answered > 0
    assert dict(counts.failures) == {"PEL-SLIDE-004": counts.n_scans_failed}


def test_a_calibrated_population_is_found_calibrated(whole):
    assert whole.reliability.slope.low < 1 < whole.reliability.slope.high
    assert whole.reliability.in_the_large.low < 0 < whole.reliability.in_the_large.high
    assert whole.reliability.ece.value < 0.12


def test_a_band_holds_its_curve(whole):
    band = whole.ranking.roc_band
    assert band is not None
    assert all(low <= high for low, high in zip(band.low, band.high, strict=True))
    assert band.high[-1] == 1.0
    inside = [
        low - 0.02 <= max(tpr for fpr, tpr in whole.ranking.roc if fpr <= x) <= high + 0.02
        for x, low, high in zip(band.x, band.low, band.high, strict=True)
    ]
    assert sum(inside) >= 0.9 * len(inside)


def test_the_confidences_are_compared_on_the_same_specimens(whole):
    figures = {one.confidence: one for one in whole.selection.figures}
    assert set(figures) == set(Confidence)
    assert {one.accuracy.n for one in figures.values()} == {whole.selection.n}
    # the spread of this population is drawn apart from its errors, the mean isn't
    assert figures[Confidence.DROPOUT_MEAN].failure_auroc.low > 0.6
    spread = figures[Confidence.DROPOUT_SPREAD]
    assert spread.failure_auroc.low < 0.5 < spread.failure_auroc.high
    assert spread.augrc_less is not None
    assert spread.augrc_less.low > 0
    assert figures[Confidence.DROPOUT_MEAN].augrc_less is None
    assert all(one.curve[-1][0] == 1.0 for one in figures.values())


def test_a_confidence_that_the_model_lacks_is_named_absent():
    made = [replace(one, ensemble=(), deterministic=None) for one in population(40)]
    found = report(*made).selection
    assert found.absent == (Confidence.ENSEMBLE_MEAN, Confidence.DETERMINISTIC)
    assert [one.confidence for one in found.figures] == [Confidence.DROPOUT_MEAN, Confidence.DROPOUT_SPREAD]


def test_specimens_without_one_of_the_confidences_are_left_out_for_all():
    made = population(40)
    answered = [one for one in made if one.label is not None and one.posterior is not None]
    without = {one.pseudonym for one in answered[:3]}
    found = report(*(replace(one, ensemble=()) if one.pseudonym in without else one for one in made)).selection
    assert (found.n, found.n_without) == (len(answered) - 3, 3)


def test_what_was_escalated_is_counted_by_what_held_it_back():
    found = report(*known_table()).escalated
    groups = {
        (group.held, group.reason): (group.n, group.n_alone, group.wrong.k, group.wrong.n) for group in found.groups
    }
    assert groups[Held.VARIANCE_RULE, Reason.UNCERTAIN] == (1, 0, 0, 1)
    # five between the thresholds, all on their right side of one half, and the one whose passes spread too far
    assert groups[Held.CERTIFICATE, Reason.UNCERTAIN] == (6, 5, 0, 6)
    assert groups[Held.GATE, Reason.PROCESSING_FAILED] == (1, 0, 0, 0)
    assert found.n_escalated == 7
    assert (found.decided.k, found.decided.n) == (2, 11)
    assert (found.answered.k, found.answered.n) == (2, 17)
    assert (found.kept_by_variance.k, found.kept_by_variance.n) == (2, 16)


def test_the_worst_cases_are_wrong_decisions_first_then_by_confidence():
    table = [*known_table(), specimen("sure, but spread", 6.0, 0, sd=2.0)]
    worst = report(*table).worst
    names = {one.pseudonym: one.specimen for one in table}
    assert [names[case.pseudonym] for case in worst.cases] == ["false positive", "missed", "sure, but spread"]
    assert [case.decided_wrongly for case in worst.cases] == [True, True, False]
    assert worst.n_wrong == 3


# the certificate -------------------------------------------------------------


def covered(n_wild: int, n_mutated: int, *, wrong: int = 0):
    """Specimens far on the negative side: `wrong` of the mutated ones lie there too."""
    return [
        *(specimen(f"w{nth}", -4.0 - nth / 100, 0) for nth in range(n_wild)),
        *(specimen(f"m{nth}", -4.0 if nth < wrong else 4.0 + nth / 100, 1) for nth in range(n_mutated)),
    ]


def check(specimens, policy=POLICY):
    (found,) = report(*specimens, policy=policy).agreement.certificates
    return found


def test_agreement_is_supported_compatible_or_contradicted_by_the_interval():
    assert check(covered(65, 35)).claims[0].state is Agreement.SUPPORTED
    assert check(covered(20, 10)).claims[0].state is Agreement.COMPATIBLE
    broken = check(covered(20, 10, wrong=8)).claims[0]
    assert (broken.observed.k, broken.observed.n, broken.state) == (20, 28, Agreement.CONTRADICTED)
    assert check([specimen("between", 0.0, 0)]).claims[0].state is Agreement.UNTESTED


def test_a_share_of_missed_mutated_is_held_against_its_target():
    certificate = replace(CERTIFICATE, claims=(MISSED_CLAIM,), positive=None)
    policy = replace(POLICY, certificates=(certificate,))
    made = [specimen(f"m{nth}", -4.0 if nth < 12 else 4.0, 1, policy=policy) for nth in range(40)]
    (claim,) = check(made, policy).claims
    assert (claim.observed.k, claim.observed.n, claim.state) == (12, 40, Agreement.CONTRADICTED)


def test_a_positive_threshold_is_tested_though_such_answers_are_off():
    policy = replace(POLICY, autonomous_positive=False)
    made = [specimen(f"m{nth}", 4.0, 1, policy=policy) for nth in range(50)]
    found = report(*made, policy=policy)
    assert found.answers.ppv.n == 0
    assert found.agreement.certificates[0].claims[1].state is Agreement.SUPPORTED
    assert "switched off" in found.guarantee.promises[0].lines[1].sentence


@pytest.mark.parametrize(
    ("n_wild", "n_mutated", "state"),
    [
        (65, 35, PrevalenceState.INSIDE),
        (10, 10, PrevalenceState.UNSURE),
        (50, 150, PrevalenceState.OUTSIDE),
    ],
)
def test_the_share_of_mutated_specimens_is_held_against_the_certified_range(n_wild, n_mutated, state):
    found = report(*covered(n_wild, n_mutated))
    assert found.agreement.certificates[0].state is state
    assert any("outside the certified range" in note for note in found.notes) == (state is not PrevalenceState.INSIDE)


def test_values_that_were_not_certified_are_named_and_never_decided():
    made = [
        *covered(6, 3),
        specimen("elsewhere", -4.0, 0, strata={"site": "west", "specimen_type": "biopsy"}),
        specimen("other scanner", -4.0, 0, scanner="Pannoramic"),
    ]
    found = report(*made).agreement
    assert {(one.name, one.value, one.n, one.n_decided) for one in found.unseen} == {
        ("site", "west", 1, 0),
        ("scanner", "Pannoramic", 1, 0),
    }
    assert found.certificates[0].n_covered == 9


def test_a_specimen_that_fits_no_stratum_is_counted_uncovered():
    certificate = replace(CERTIFICATE, stratum=(("site", "south"),))
    policy = replace(POLICY, certificates=(certificate,))
    found = report(*covered(3, 2), policy=policy).agreement
    assert found.n_uncovered == 5
    assert found.certificates[0].state is PrevalenceState.UNKNOWN


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (replace(POLICY, model="00" * 32), "another model"),
        (replace(POLICY, gates="00" * 32), "other limits"),
        (replace(POLICY, expires_on="2026-11-22"), "held until 2026-11-22"),
    ],
)
def test_a_certificate_that_does_not_apply_promises_nothing(policy, said):
    made = [specimen(f"w{nth}", -4.0, 0, policy=policy) for nth in range(5)]
    found = report(*made, policy=policy)
    assert not found.guarantee.in_force
    assert said in " ".join(found.guarantee.warnings)
    assert found.answers.coverage.k == 0
    if policy.expires_on == POLICY.expires_on:
        assert not found.agreement.applies


def test_a_claim_that_was_not_shown_is_not_promised():
    certificate = replace(
        CERTIFICATE, negative=None, positive=None, claims=(replace(CERTIFICATE.claims[0], bound=None),)
    )
    policy = replace(POLICY, certificates=(certificate,))
    found = report(specimen("one", -4.0, 0, policy=policy), policy=policy)
    assert not found.guarantee.in_force
    (line,) = found.guarantee.promises[0].lines
    assert not line.shown
    assert line.sentence.startswith("Not shown, and not promised: of the specimens answered")
    assert found.agreement.certificates[0].claims == ()


def test_in_force_says_its_assumptions_first_and_what_breaks_it(whole):
    guarantee = whole.guarantee
    assert guarantee.in_force
    assert guarantee.assumptions
    assert any("scanner" in line for line in guarantee.breaks)
    first = guarantee.promises[0].lines[0].sentence
    assert "at least 90% are wild type" in first
    assert "143 certified specimens" in first
    assert "at most 5% of the time" in first
    assert dict(guarantee.promises[0].covers)["site"] == "north, south"


# little or nothing to go by -----------------------------------------------------


def test_one_class_only_says_what_cannot_be_computed():
    found = report(*(specimen(f"w{nth}", -3.0 + 0.1 * nth, 0) for nth in range(20)))
    assert found.ranking.auroc.value is None
    assert found.ranking.auroc.note
    assert found.ranking.roc == ()
    assert found.ranking.roc_band is None
    assert found.reliability.slope.value is None
    assert found.reliability.brier.value is not None
    assert any("wild type" in note for note in found.notes)
    assert found.answers.npv.value == 1.0


@pytest.mark.parametrize(
    "made",
    [
        [],
        [specimen("one", -3.0, 0)],
        [specimen("one", 3.0, 1)],
        [specimen("failed", None, 0)],
        [specimen("failed", None, 0), specimen("also failed", None, 1)],
        [specimen("unlabelled", -3.0, None), specimen("another", 2.0, None)],
        [specimen("a", -3.0, 0, patient="P"), specimen("b", 3.0, 1, patient="P")],
        [specimen("a", 0.0, 0), specimen("b", 0.0, 1)],
    ],
    ids=["none", "one", "one mutated", "no answer", "no answers", "no outcome", "one patient", "equal"],
)
def test_a_report_is_made_of_whatever_there_is(made):
    found = report(*made)
    assert from_plain(EvaluationReport, json.loads(json.dumps(to_plain(found), allow_nan=False))) == found
    assert found.evaluated.n_specimens == len(made)
    for one in (found.ranking.auroc, found.reliability.slope, found.reliability.ece):
        assert one.value is None or math.isfinite(one.value)
        assert one.value is not None or one.note


def test_small_groups_say_too_few(whole):
    sites = {group.value: group for column in whole.columns if column.name == "site" for group in column.groups}
    assert list(sites) == ["north", "south", "west"]
    assert sites["west"].too_few
    assert sites["west"].escalated is None
    assert sites["west"].auroc.value is None
    assert not sites["north"].too_few
    assert sites["north"].auroc.value is not None
    assert sum(group.n for group in sites.values()) == 200


def test_groups_by_scanner_are_there_even_where_no_file_names_one(whole):
    scanners = {group.value: group.n for column in whole.columns if column.name == "scanner" for group in column.groups}
    assert scanners[""] == whole.evaluated.n_scans_failed
    assert set(scanners) == {"", "AT2", "GT450", "Pannoramic"}


def test_several_specimens_a_patient_are_said_and_change_the_intervals():
    found = report(*population(60, several=True))
    assert found.evaluated.n_patients == 30
    assert found.evaluated.n_patients_with_several == 30
    assert any("several specimens" in note for note in found.notes)
    assert found.answers.coverage.n_patients == 30
    assert found.answers.coverage.interval.value == "by_patient"


def test_the_same_assessment_gives_the_same_report():
    assert report(*population(30)) == report(*population(30))
    assert VERSIONS.model == report().model_digest
    assert GATES.digest == POLICY.gates
