"""Another policy makes other decisions from the same posteriors: nothing is scored again, and each can be explained."""

from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise
from pellucid.domain.certificate import Certificate
from pellucid.domain.cohort import Cohort
from pellucid.domain.decision import Disposition, Verdict
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.pipeline import RunOptions, explain_specimen, run_cohort
from pellucid.pipeline.decisions import gates_of
from pellucid.records import DATABASE_NAME, RecordedDecision, open_records


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
