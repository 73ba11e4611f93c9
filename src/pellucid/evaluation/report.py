"""The evaluation report: what the model, its gates and a policy do on specimens with known outcome."""

from collections.abc import Iterator
from dataclasses import dataclass

from pellucid.core.clock import utc_now
from pellucid.domain.policy import Mode
from pellucid.evaluation.agreement import Agreement, AgreementFigures, PrevalenceState, check_agreement
from pellucid.evaluation.escalated import Escalated, describe_escalated
from pellucid.evaluation.evaluated import Evaluated, count_evaluated
from pellucid.evaluation.guarantee import Guarantee, describe_guarantee
from pellucid.evaluation.histograms import Histograms, count_probabilities
from pellucid.evaluation.measures import LEVEL, Answered, Resampling, answered
from pellucid.evaluation.ranking import Ranking, describe_ranking
from pellucid.evaluation.reliability import Reliability, describe_reliability
from pellucid.evaluation.selection import Selection, describe_selection
from pellucid.evaluation.specimens import Assessment
from pellucid.evaluation.subgroups import Column, describe_subgroups
from pellucid.evaluation.three_way import ThreeWay, three_way
from pellucid.evaluation.worst import WorstCases, find_worst

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedModel:
    """The bundle's name and digest, and whether it was trained on synthetic slides."""

    bundle: str
    bundle_digest: str
    synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedPolicy:
    """The policy that the answers follow, as far as a reader must know it."""

    name: str
    digest: str
    mode: Mode
    autonomous_positive: bool
    certified_on: str | None
    expires_on: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """Everything that an evaluation says; specimens by pseudonym only.

    Attributes:
        format: of this report.
        made_at: when, UTC.
        software_version: which made the assessment.
        biomarker: completes "the probability of ...".
        model: the bundle.
        model_digest: of encoder, head and mask scheme.
        policy: whose answers these are.
        level: how often each 95 % interval holds the truth.
        n_resamples: behind each interval by patient.
        notes: what a reader must know before the numbers.
        guarantee: what is promised, on which assumptions.
        evaluated: what the figures rest on.
        answers: the three answers against the outcomes.
        agreement: the test against the certificates.
        ranking: ROC and precision-recall.
        reliability: calibration.
        selection: risk-coverage of every confidence.
        histograms: probabilities by outcome.
        escalated: what each gate held back.
        columns: figures by stratum and scanner.
        worst: the most confident errors.
    """

    format: int
    made_at: str
    software_version: str
    biomarker: str
    model: EvaluatedModel
    model_digest: str
    policy: EvaluatedPolicy
    level: float
    n_resamples: int
    notes: tuple[str, ...]
    guarantee: Guarantee
    evaluated: Evaluated
    answers: ThreeWay
    agreement: AgreementFigures
    ranking: Ranking
    reliability: Reliability
    selection: Selection
    histograms: Histograms
    escalated: Escalated
    columns: tuple[Column, ...]
    worst: WorstCases


def make_report(
    assessment: Assessment,
    model: EvaluatedModel,
    *,
    resampling: Resampling | None = None,
    made_at: str | None = None,
) -> EvaluationReport:
    """Make every figure of an assessment; what can't be computed says why.

    Args:
        assessment: the specimens of the split, assessed under the policy to be evaluated.
        model: the bundle that they were assessed with.
        resampling: behind the intervals by patient; 1,000 resamples where None.
        made_at: the report's time; now where None.
    """
    drawn = resampling or Resampling()
    moment = made_at or utc_now()
    specimens, policy, versions = assessment.specimens, assessment.policy, assessment.terms.versions
    sample = answered(specimens)
    counted = count_evaluated(specimens)
    guarantee = describe_guarantee(assessment.terms, on=moment[:10])
    agreement = check_agreement(assessment, drawn)
    return EvaluationReport(
        format=FORMAT,
        made_at=moment,
        software_version=versions.software_version,
        biomarker="the planted signal" if model.synthetic else "an EGFR mutation",
        model=model,
        model_digest=versions.model,
        policy=EvaluatedPolicy(
            name=policy.name,
            digest=policy.digest,
            mode=policy.mode,
            autonomous_positive=policy.autonomous_positive,
            certified_on=policy.certified_on,
            expires_on=policy.expires_on,
        ),
        level=LEVEL,
        n_resamples=drawn.n,
        notes=tuple(_notes(counted, sample, agreement)),
        guarantee=guarantee,
        evaluated=counted,
        answers=three_way(specimens, drawn),
        agreement=agreement,
        ranking=describe_ranking(sample, drawn),
        reliability=describe_reliability(sample, drawn),
        selection=describe_selection(sample, drawn),
        histograms=count_probabilities(specimens, policy),
        escalated=describe_escalated(specimens, drawn),
        columns=describe_subgroups(specimens, drawn),
        worst=find_worst(specimens),
    )


def _notes(counted: Evaluated, sample: Answered, agreement: AgreementFigures) -> Iterator[str]:
    if not counted.n_specimens:
        yield "No specimen was evaluated."
        return
    if not counted.n_mutated + counted.n_wild_type:
        yield "No specimen has a molecular outcome, so nothing can be held against the truth."
    elif not counted.n_mutated or not counted.n_wild_type:
        only = "mutated" if counted.n_mutated else "wild type"
        yield f"Every known outcome is {only}: what compares the two classes can't be computed."
    if counted.n_mutated + counted.n_wild_type and not len(sample):
        yield "No specimen with an outcome has an answer, so there are no probabilities to judge."
    if counted.n_patients_with_several:
        yield (
            f"{counted.n_patients_with_several} of {counted.n_patients} patients have several specimens: intervals of "
            "shares are made by resampling patients, wherever that applies, and exactly elsewhere."
        )
    yield from _disagreements(agreement)


def _disagreements(agreement: AgreementFigures) -> Iterator[str]:
    for one in agreement.certificates:
        if one.state in {PrevalenceState.OUTSIDE, PrevalenceState.UNSURE}:
            yield (
                f"Certificate for {one.title}: the share of mutated specimens here lies outside the certified range, "
                "so its predictive values are not promised for specimens like these."
            )
        if any(check.state is Agreement.CONTRADICTED for check in one.claims):
            yield f"Certificate for {one.title}: a certified figure is contradicted by these specimens."
    if any(one.n_decided for one in agreement.unseen):
        yield "Specimens with a value that was not certified were decided without a person: this must not happen."
