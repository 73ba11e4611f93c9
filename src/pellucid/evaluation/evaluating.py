"""From a test split to a report: on patients whom neither the model nor the certification has met."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.digests import salted_digest
from pellucid.domain.cohort import Cohort, Split
from pellucid.domain.policy import SitePolicy
from pellucid.evaluation.errors import PatientsCertifiedUpon
from pellucid.evaluation.report import EvaluatedModel, EvaluationReport, make_report
from pellucid.evaluation.scoring import refuse_known_patients, refuse_patients, score_split, specimens_of
from pellucid.evaluation.specimens import Assessment
from pellucid.pipeline import RunOptions, RunSummary
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.run import RunEvents

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

PURPOSE = "evaluation"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """What an evaluation came to; `report` is None where the run was stopped before its end."""

    summary: RunSummary
    report: EvaluationReport | None


def evaluate(
    cohort: Cohort,
    bundle: "Bundle",
    out: Path,
    *,
    split: Split = Split.TEST,
    policy: SitePolicy,
    events: RunEvents,
    options: RunOptions | None = None,
    stop: StopRequest | None = None,
) -> EvaluationRun:
    """Score a split and hold every answer against its molecular outcome.

    A bundle that doesn't say which patients it has met can be evaluated, but not certified.

    Args:
        cohort: the whole table.
        bundle: a verified bundle.
        out: the folder of records, pictures and log; the same folder resumes.
        split: which rows.
        policy: what the specimens are judged under.
        events: is told what happens.
        options: how to run; purpose and decisions are set here.
        stop: asked all the time whether to stop.

    Raises:
        CohortUnusable, PatientsInSeveralSplits, PatientsSeenInTraining, PatientsCertifiedUpon: before a slide is
            opened.
    """
    chosen = specimens_of(cohort, split, need_all=False)
    if bundle.patients is not None:
        refuse_known_patients(chosen, bundle)
    refuse_certified_patients(chosen, policy)
    summary, assessment = score_split(
        chosen,
        bundle,
        out,
        policy=policy,
        events=events,
        options=replace(options or RunOptions(), purpose=PURPOSE),
        stop=stop,
    )
    return EvaluationRun(summary=summary, report=None if assessment is None else report_of(assessment, bundle))


def report_of(assessment: Assessment, bundle: "Bundle") -> EvaluationReport:
    """The report of specimens that were assessed under a bundle."""
    return make_report(
        assessment,
        EvaluatedModel(bundle=bundle.name, bundle_digest=bundle.digest, synthetic=bundle.synthetic),
    )


def refuse_certified_patients(cohort: Cohort, policy: SitePolicy) -> None:
    """Check that the policy was certified on no patient of these rows.

    Raises:
        PatientsCertifiedUpon: names the rows.
    """
    if policy.salt is None:
        return
    used, salt = set(policy.patients), policy.salt
    seen = {entry.patient for entry in cohort.entries if salted_digest(salt, entry.patient) in used}
    refuse_patients(cohort, seen, PatientsCertifiedUpon, "among those that this policy was certified on")
