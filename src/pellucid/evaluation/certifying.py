"""From a certification split to a signed site policy: whoever's labels are opened is accounted for before they are."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.digests import digest_json, salted_digest
from pellucid.core.serial import to_plain
from pellucid.domain.certificate import Certificate
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.evaluation.certification import StratumPlan, certify_stratum, plan
from pellucid.evaluation.errors import CohortUnusable, NothingPassed
from pellucid.evaluation.grounds import check_place, check_table
from pellucid.evaluation.scoring import refuse_known_patients, score_split, specimens_of
from pellucid.evaluation.specimens import AssessedSpecimen, Assessment, one_a_patient
from pellucid.evaluation.targets import CertificationTargets
from pellucid.pipeline import AuditBroken, RunOptions, RunSummary
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.run import RunEvents
from pellucid.records import DATABASE_NAME, CertificationEntry, Records, open_records

if TYPE_CHECKING:
    from pellucid.bundle import Bundle, SigningKey

PURPOSE = "certification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """What a certification came to.

    `policy` is None where the run was stopped before its end: the same call goes on. `entry` is what it spent.
    """

    summary: RunSummary
    policy: SitePolicy | None
    entry: CertificationEntry | None


def certify(
    cohort: Cohort,
    bundle: "Bundle",
    out: Path,
    *,
    targets: CertificationTargets,
    name: str,
    policy_file: Path,
    key: "SigningKey",
    signer: str,
    events: RunEvents,
    options: RunOptions | None = None,
    stop: StopRequest | None = None,
) -> Certified:
    """Score the certification split, test what may be claimed, and write a signed policy in silent mode.

    Before a label is used for a test, the starts of all tests and the delta that they spend are in the audit trail.
    The same call on the same specimens spends nothing more and gives the same policy, down to the day it expires.

    Args:
        cohort: the whole table; its certification split is used.
        bundle: a verified bundle, which must not have met any patient of the split.
        out: the folder of records, pictures and log; all certifications of a site belong into the same records.
        targets: what is to be shown.
        name: what the site calls its policy.
        policy_file: where the policy is written; only that of the same certification may lie there.
        key: the site's key that signs it.
        signer: whose signature that is.
        events: is told what happens.
        options: how to run; purpose and decisions are set here.
        stop: asked all the time whether to stop.

    Raises:
        CohortUnusable, PatientsInSeveralSplits, PatientsSeenInTraining, PatientsUnknown, PolicyPlaceUnusable,
        PolicyInvalid: before a slide is opened. CohortUnusable, NothingPassed and PolicyPlaceUnusable also where only
            the scans tell; before a label is used.
        DeltaSpent: these patients' labels have been opened too often; before they are opened again.
    """
    from pellucid.bundle.policies import Meaning, sign_policy, write_policy

    chosen = specimens_of(cohort, Split.CERTIFICATION, need_all=True)
    refuse_known_patients(chosen, bundle)
    check_table(chosen, bundle, targets)
    check_place(policy_file, model=bundle.model_digest)
    silent = SitePolicy(name=name, mode=Mode.SILENT, required_strata=targets.required)
    sign_policy(silent, key, name=signer, meaning=Meaning.CERTIFIED)  # what can't be signed is said before it is paid
    options = replace(options or RunOptions(), purpose=PURPOSE)
    summary, assessment = score_split(chosen, bundle, out, policy=silent, events=events, options=options, stop=stop)
    if assessment is None:
        return Certified(summary=summary, policy=None, entry=None)
    with open_records(options.database or out / DATABASE_NAME) as records:
        _require_sound(records)
        fingerprint = _fingerprint(records, assessment, bundle, targets)
        salt = digest_json([records.site_salt().hex(), fingerprint])[:32]
        earlier = check_place(policy_file, model=bundle.model_digest, salt=salt)
        specimens = one_a_patient(assessment.specimens, _selection_salt(records))
        planned = _planned(specimens, bundle, targets)
        entry = _spend(records, fingerprint, specimens, planned, targets)
        certificates = tuple(certify_stratum(one, targets) for one in planned)
        begun = date.fromisoformat(entry.at[:10])
        policy = replace(
            silent,
            certificates=certificates,
            model=bundle.model_digest,
            gates=assessment.terms.gates.digest,
            synthetic=bundle.synthetic,
            # from the first attempt on: to repeat it renews nothing
            certified_on=begun.isoformat(),
            expires_on=(begun + timedelta(days=targets.valid_days)).isoformat(),
            cohort=chosen.digest or None,
            salt=salt,
            patients=tuple(sorted(salted_digest(salt, one.patient) for one in specimens)),
        )
        if earlier != policy or not _has_signed(policy_file, key):
            write_policy(policy_file, policy, key, name=signer, meaning=Meaning.CERTIFIED)
        records.conclude_certification(fingerprint, policy_digest=policy.digest, summary=_told(certificates))
    return Certified(summary=summary, policy=policy, entry=entry)


def _planned(
    specimens: tuple[AssessedSpecimen, ...], bundle: "Bundle", targets: CertificationTargets
) -> tuple[StratumPlan, ...]:
    """What will be tested; refused where no label could make a difference."""
    if not any(one.passed for one in specimens):
        reasons = Counter(reason for one in specimens for reason in {finding.reason.value for finding in one.findings})
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise NothingPassed(f"None of {len(specimens)} specimens, one a patient, passed every gate: {said}.")
    planned = plan(specimens, bundle.tuning, targets)
    if not planned:
        raise CohortUnusable(f"No specimen has one stated value of {' and of '.join(targets.strata)}.")
    return planned


def _has_signed(path: Path, key: "SigningKey") -> bool:
    from pellucid.bundle.policies import read_policy

    return key.key_id in read_policy(path, [key.trusted()]).verified


def _selection_salt(records: Records) -> str:
    """The same for every certification of a site: neither a label nor a model chooses among a patient's specimens."""
    return digest_json([records.site_salt().hex(), "one specimen a patient"])[:32]


def _require_sound(records: Records) -> None:
    """An account in a trail that was tampered with is none."""
    report = records.verify_audit()
    if not report.ok:
        raise AuditBroken(f"{len(report.problems)} problems in the audit trail; first: {report.problems[0].detail}")


def _fingerprint(records: Records, assessment: Assessment, bundle: "Bundle", targets: CertificationTargets) -> str:
    """What makes two certifications the same one: the model, the targets, and all that the tests look at.

    Scores, strata and labels belong to it, so that a table that was changed in the light of the labels, or scans that
    came out otherwise, are another attempt, which has its price.
    """
    asked = to_plain(targets)
    # neither changes what is tested
    asked.pop("budget")
    asked.pop("valid_days")
    rows = sorted(_as_tested(one) for one in assessment.specimens)
    gates = assessment.terms.gates.digest
    content = {"bundle": bundle.digest, "gates": gates, "targets": asked, "specimens": rows}
    return digest_json({"salt": records.site_salt().hex(), **content})


def _as_tested(one: AssessedSpecimen) -> list[Any]:
    strata = sorted([name, value] for name, value in one.strata.items())
    return [one.specimen, one.patient, one.label, strata, list(one.scanners), one.upper.hex(), one.lower.hex()]


def _spend(
    records: Records,
    fingerprint: str,
    specimens: tuple[AssessedSpecimen, ...],
    planned: tuple[StratumPlan, ...],
    targets: CertificationTargets,
) -> CertificationEntry:
    return records.spend_delta(
        fingerprint=fingerprint,
        patients={one.patient for one in specimens},
        delta=targets.delta,
        budget=targets.budget if targets.budget is not None else targets.delta,
        details={"targets": to_plain(targets), "plans": [_plan_as_plain(one) for one in planned]},
    )


def _plan_as_plain(planned: StratumPlan) -> dict[str, Any]:
    return {
        "stratum": dict(planned.stratum),
        "n": len(planned.specimens),
        "sides": {
            side.value: {"start": one.start, "grid": digest_json([float(value) for value in one.grid])}
            for side, one in planned.sides.items()
        },
    }


def _told(certificates: tuple[Certificate, ...]) -> dict[str, Any]:
    return {
        "certificates": [
            {
                "stratum": dict(one.stratum),
                "n": one.n_specimens,
                "negative": one.negative,
                "positive": one.positive,
                "delta": one.delta,
            }
            for one in certificates
        ]
    }
