"""Another policy makes other decisions from the same posteriors: nothing is scored again, and each can be explained."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise
from pellucid.domain.certificate import Certificate
from pellucid.domain.cohort import Cohort
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.reasons import Finding, Reason
from pellucid.pipeline import RunOptions, explain_specimen, run_cohort
from pellucid.pipeline import decisions as deciding
from pellucid.pipeline.decisions import days_of, decide_again, decide_specimen, gates_of, terms_of
from pellucid.pipeline.errors import DecisionDiffers, SpecimenUnknown
from pellucid.records import DATABASE_NAME, RecordedDecision, Records, open_records


@pytest.fixture(scope="module")
def lenient(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model with limits that every slide passes."""
    reference = replace(parts.reference, distance_limit=1e6, sd_limit=1e6)
    folder = build_bundle(
        tmp_path_factory.mktemp("lenient") / "bundle", replace(parts, reference=reference, name="lenient"), key
    )
    return load_bundle(folder, [key.trusted()])


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Two clear specimens whose diagnosis the table confirms."""
    config = SynthesisConfig(
        seed=5, n_training=0, n_tuning=0, n_test=2, special=(), slide_px=2048, p_fine=0.0, p_second_scan=0.0
    )
    cohort = read_cohort(synthesise(tmp_path_factory.mktemp("confirmed") / "cohort", config))
    return replace(
        cohort,
        entries=tuple(replace(one, strata=(*one.strata, ("diagnosis", "confirmed"))) for one in cohort.entries),
    )


def certified(cohort: Cohort, bundle: Bundle, **changes: object) -> SitePolicy:
    """A policy under which the tiny model, which knows nothing, calls everything negative."""
    seen = {
        "site": tuple(sorted({dict(entry.strata)["site"] for entry in cohort.entries})),
        "scanner": ("SYN-A", "SYN-B", "SYN-C", ""),
    }
    certificate = Certificate(
        seen=seen,
        claims=(),
        negative=1e6,
        positive=None,
        n_specimens=100,
        n_passed=100,
        n_positive=30,
        prevalence_low=0.2,
        prevalence_high=0.4,
        delta=0.05,
    )
    policy = SitePolicy(
        name="test",
        mode=Mode.AUTONOMOUS,
        certificates=(certificate,),
        model=bundle.model_digest,
        gates=gates_of(bundle).digest,
        synthetic=True,
        expires_on="2999-12-31",
    )
    return replace(policy, **changes)


def decisions(out: Path) -> list[RecordedDecision]:
    with open_records(out / DATABASE_NAME) as records:
        for name in {one.decision.specimen for one in records.decisions()}:
            explain_specimen(records, name)  # raises where a decision doesn't follow from what is stored
        return records.decisions()


def test_a_new_policy_decides_anew_from_the_posteriors_that_are_there(
    confirmed: Cohort, lenient: Bundle, silent: object, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    none, policy = SitePolicy(name="test"), certified(confirmed, lenient)
    first = run_cohort(confirmed, lenient, out, policy=none, events=silent)  # type: ignore[arg-type]
    before = decisions(out)
    assert {one.decision.verdict for one in before} == {Verdict.UNDETERMINED}
    assert {reason for one in before for reason in one.decision.reasons} == {Reason.NO_CERTIFICATE}

    second = run_cohort(confirmed, lenient, out, policy=policy, events=silent)  # type: ignore[arg-type]
    after = decisions(out)
    assert (first.scored, second.scored, second.known) == (len(confirmed.entries), 0, len(confirmed.entries))
    assert [(one.version, one.decision.verdict, one.decision.disposition) for one in after] == [
        (2, Verdict.NEGATIVE, Disposition.REPORTED)
    ] * len(before)
    assert [one.decision.posterior for one in after] == [one.decision.posterior for one in before]
    assert {one.decision.versions.policy for one in after} == {policy.digest}

    run_cohort(confirmed, lenient, out, policy=replace(policy, mode=Mode.SILENT), events=silent)  # type: ignore[arg-type]
    assert {one.decision.disposition for one in decisions(out)} == {Disposition.SILENT}
    run_cohort(confirmed, lenient, out, policy=none, events=silent)  # type: ignore[arg-type]
    assert {one.decision.verdict for one in decisions(out)} == {Verdict.UNDETERMINED}


def test_an_expired_policy_decides_nothing_and_a_run_that_only_counts_records_no_decision(
    confirmed: Cohort, lenient: Bundle, silent: object, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    counted = RunOptions(purpose="certification", decides=False)
    run_cohort(confirmed, lenient, out, policy=SitePolicy(name="test"), events=silent, options=counted)  # type: ignore[arg-type]
    assert decisions(out) == []
    expired = certified(confirmed, lenient, expires_on="2020-01-01")
    run_cohort(confirmed, lenient, out, policy=expired, events=silent)  # type: ignore[arg-type]
    assert {reason for one in decisions(out) for reason in one.decision.reasons} == {Reason.NO_CERTIFICATE}


@pytest.fixture(scope="module")
def decided_today(confirmed: Cohort, lenient: Bundle, silent: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records in which every specimen was answered without a person, under a certificate that holds today only."""
    out = tmp_path_factory.mktemp("decided") / "out"
    policy = certified(confirmed, lenient, expires_on=datetime.now(UTC).date().isoformat())
    run_cohort(confirmed, lenient, out, policy=policy, events=silent)  # type: ignore[arg-type]
    return out / DATABASE_NAME


@pytest.fixture
def decided(decided_today: Path, tmp_path: Path) -> Iterator[Records]:
    """A copy of those records."""
    with sqlite3.connect(decided_today) as source, sqlite3.connect(tmp_path / DATABASE_NAME) as target:
        source.backup(target)
    with open_records(tmp_path / DATABASE_NAME) as records:
        assert {one.decision.disposition for one in records.decisions()} == {Disposition.REPORTED}
        yield records


def test_what_was_decided_while_the_certificate_held_stands_when_it_has_expired(
    decided: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = decided.runs()
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat().replace("+00:00", "Z")
    monkeypatch.setattr(deciding, "utc_now", lambda: later)
    for one in decided.decisions():
        assert decide_specimen(decided, one.decision.specimen, terms_of(run), run_id=run.run_id) is None
        explain_specimen(decided, one.decision.specimen)
    assert {one.version for one in decided.decisions()} == {1}


def test_a_decision_without_a_person_is_explained_by_its_certificate(decided: Records) -> None:
    for one in decided.decisions():
        told = explain_specimen(decided, one.decision.specimen)
        assert (told.derived.findings, told.derived.verdict) == ((), Verdict.NEGATIVE)
        assert told.certificate is not None
        assert told.scores is not None
        assert told.certificate.negative is not None
        assert told.scores.lower < told.scores.upper <= told.certificate.negative


def test_a_decision_of_the_moment_before_midnight_is_derived_from_the_day_before(decided: Records) -> None:
    one = decided.decisions()[0]
    assert days_of(replace(one, at="2027-01-01T00:03:00.000Z")) == ("2027-01-01", "2026-12-31")
    assert days_of(replace(one, at="2027-01-01T00:30:00.000Z")) == ("2027-01-01",)


def test_the_policy_of_an_earlier_run_may_hold_back_but_reports_nothing_anew(decided: Records) -> None:
    first, second = (one.decision for one in decided.decisions())
    (run,) = decided.runs()
    held = replace(
        first,
        verdict=Verdict.UNDETERMINED,
        disposition=Disposition.FOR_REVIEW,
        findings=(Finding(reason=Reason.IDENTITY_CONFLICT, detail="filed twice"),),
    )
    decided.save_decision(held, run_id=run.run_id)
    assert decide_again(decided, first.specimen, software=run.versions) is None
    assert decide_again(decided, second.specimen, software=run.versions) is None
    latest = {one.decision.specimen: one.decision.disposition for one in decided.decisions()}
    assert latest == {first.specimen: Disposition.FOR_REVIEW, second.specimen: Disposition.REPORTED}


def test_a_specimen_that_another_run_has_taken_over_is_said_to_be_so(decided: Records) -> None:
    filed = decided.specimens()[0]
    decided.register_specimen(filed.specimen, filed.case, filed.patient, ["key of a certification"], filed.strata)
    with pytest.raises(SpecimenUnknown, match="taken the specimen over"):
        explain_specimen(decided, filed.specimen)


def test_an_earlier_release_s_settings_are_understood(decided: Records) -> None:
    (run,) = decided.runs()
    gates = {name: value for name, value in run.settings["gates"].items() if not name.startswith("tumour")}
    policy = {"name": "old", "mode": "for_review", "required_strata": ["site"]}
    terms = terms_of(replace(run, settings=run.settings | {"gates": gates, "policy": policy}))
    assert (terms.gates.tumour_limit, terms.gates.tumour_head) == (None, None)
    assert (terms.policy.certificates, terms.policy.autonomous_positive) == ((), False)


def test_a_decision_of_other_software_that_does_not_follow_names_that_software(decided: Records) -> None:
    one, (run,) = decided.decisions()[0], decided.runs()
    other = replace(one.decision.versions, software="0" * 64, software_version="0.0.1")
    decided.save_decision(replace(one.decision, versions=other, verdict=Verdict.POSITIVE), run_id=run.run_id)
    with pytest.raises(DecisionDiffers, match=r"version 0\.0\.1 of the software"):
        explain_specimen(decided, one.decision.specimen)
