"""From a certification split to a signed site policy: whoever's labels are opened is accounted for before they are."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_json, salted_digest
from pellucid.core.serial import to_plain
from pellucid.domain.certificate import Certificate
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.evaluation.certification import StratumPlan, certify_stratum, plan
from pellucid.evaluation.errors import CohortUnusable
from pellucid.evaluation.scoring import refuse_known_patients, score_split, specimens_of
from pellucid.evaluation.specimens import AssessedSpecimen, one_a_patient
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
    The same call on the same specimens spends nothing more and gives the same certificates.

    Args:
        cohort: the whole table; its certification split is used.
        bundle: a verified bundle, which must not have met any patient of the split.
        out: the folder of records, pictures and log; all certifications of a site belong into the same records.
        targets: what is to be shown.
        name: what the site calls its policy.
        policy_file: where the policy is written.
        key: the site's key that signs it.
        signer: whose signature that is.
        events: is told what happens.
        options: how to run; purpose and decisions are set here.
        stop: asked all the time whether to stop.

    Raises:
        CohortUnusable, PatientsInSeveralSplits, PatientsSeenInTraining, PatientsUnknown: before a slide is opened.
        DeltaSpent: these patients' labels have been opened too often; before they are opened again.
    """
    from dataclasses import replace

    from pellucid.bundle.policies import write_policy

    chosen = specimens_of(cohort, Split.CERTIFICATION, need_all=True)
    refuse_known_patients(chosen, bundle)
    options = replace(options or RunOptions(), purpose=PURPOSE)
    silent = SitePolicy(name=name, mode=Mode.SILENT, required_strata=targets.required)
    summary, assessment = score_split(chosen, bundle, out, policy=silent, events=events, options=options, stop=stop)
    if assessment is None:
        return Certified(summary=summary, policy=None, entry=None)
    with open_records(options.database or out / DATABASE_NAME) as records:
        _require_sound(records)
        fingerprint = _fingerprint(chosen, bundle, assessment.terms.gates.digest, targets)
        salt = digest_json([records.site_salt().hex(), fingerprint])[:32]
        specimens = one_a_patient(assessment.specimens, salt)
        planned = plan(specimens, bundle.tuning, targets)
        if not planned:
            raise CohortUnusable(f"No specimen states {' and '.join(targets.strata)}, which the strata are made of.")
        entry = _spend(records, fingerprint, specimens, planned, targets)
        certificates = tuple(certify_stratum(one, targets) for one in planned)
        policy = replace(
            silent,
            certificates=certificates,
            model=bundle.model_digest,
            gates=assessment.terms.gates.digest,
            synthetic=bundle.synthetic,
            certified_on=utc_now()[:10],
            expires_on=(date.fromisoformat(utc_now()[:10]) + timedelta(days=targets.valid_days)).isoformat(),
            cohort=chosen.digest or None,
            salt=salt,
            patients=tuple(sorted(salted_digest(salt, one.patient) for one in specimens)),
        )
        write_policy(policy_file, policy, key, name=signer, meaning="certified")
        records.conclude_certification(fingerprint, policy_digest=policy.digest, summary=_told(certificates))
    return Certified(summary=summary, policy=policy, entry=entry)


def _require_sound(records: Records) -> None:
    """An account in a trail that was tampered with is none."""
    report = records.verify_audit()
    if not report.ok:
        raise AuditBroken(f"{len(report.problems)} problems in the audit trail; first: {report.problems[0].detail}")


def _fingerprint(cohort: Cohort, bundle: "Bundle", gates: str, targets: CertificationTargets) -> str:
    """What makes two certifications the same one: the same model, targets, scans and labels."""
    asked = to_plain(targets)
    # neither changes what is tested
    asked.pop("budget")
    asked.pop("valid_days")
    rows = sorted([entry.specimen, entry.patient, str(entry.path.name), entry.label] for entry in cohort.entries)
    return digest_json({"bundle": bundle.digest, "gates": gates, "targets": asked, "rows": rows})


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
