"""A specimen's answer, derived again from what is stored of it, without the model and without torch."""

from dataclasses import dataclass, replace

from pellucid._version import __version__
from pellucid.core.software import software_digest
from pellucid.domain.certificate import Certificate
from pellucid.domain.decision import Decision
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.pipeline.decisions import Terms, days_of, gather_evidence, terms_of
from pellucid.pipeline.errors import DecisionDiffers, SpecimenUnknown
from pellucid.records import RecordedDecision, Records
from pellucid.triage import Gates, Scores, SpecimenEvidence, certificate_for, decide, scores_of, specimen_posterior


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStep:
    """What one scan adds: its pseudonym, and its own posterior where it gave an answer."""

    pseudonym: str
    posterior: Posterior | None
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a decision follows from the stored evidence; `derived` equals what is recorded.

    `certificate` is the one of the specimen's stratum, None where the policy has none; `scores` are what its thresholds
    are held against, None without it or without an answer.
    """

    pseudonym: str
    recorded: RecordedDecision
    derived: Decision
    gates: Gates
    policy: SitePolicy
    evidence: SpecimenEvidence
    scans: tuple[ScanStep, ...]
    certificate: Certificate | None
    scores: Scores | None


def explain_specimen(records: Records, name: str) -> Explanation:
    """Derive a specimen's decision again from the stored logits, quality, gates and policy.

    Args:
        records: the records of an output folder.
        name: the specimen's pseudonym, or its name in the cases table.

    Raises:
        SpecimenUnknown: there is no decision for that name.
        DecisionDiffers: the stored decision doesn't follow from the stored evidence.
    """
    specimen = _find(records, name)
    recorded = records.decision(specimen)
    if recorded is None:
        raise _undecided(name)
    terms = terms_of(next(run for run in records.runs() if run.run_id == recorded.run))
    pseudonym = records.pseudonym("specimen", specimen)
    evidence, derived = _derived(records, recorded, terms, pseudonym)
    certificate, posterior = certificate_for(evidence, terms.policy), derived.posterior
    return Explanation(
        pseudonym=pseudonym,
        recorded=recorded,
        derived=derived,
        gates=terms.gates,
        policy=terms.policy,
        evidence=evidence,
        scans=tuple(
            ScanStep(
                pseudonym=records.pseudonym("scan", scan.scan),
                posterior=specimen_posterior((scan,), terms.gates),
                failure=None if scan.failure is None else f"{scan.failure.code} {scan.failure.message}",
            )
            for scan in evidence.scans
        ),
        certificate=certificate,
        scores=None if certificate is None or posterior is None else scores_of(posterior, certificate.tolerance),
    )


def _derived(
    records: Records, recorded: RecordedDecision, terms: Terms, pseudonym: str
) -> tuple[SpecimenEvidence, Decision]:
    """The evidence and the decision that follows from it on the day of the record."""
    decision = recorded.decision
    evidence = gather_evidence(records, decision.specimen, lane=terms.lane)
    if evidence is None:
        raise SpecimenUnknown(
            f"Version {recorded.version} of the decision for {pseudonym} can't be derived at present: since then a "
            "run, certification or evaluation has taken the specimen over, or more of its scans are awaited.",
            remedy="Let what waits finish; or run its table again with the bundle that decided.",
        )
    for day in days_of(recorded):
        then = replace(evidence, on=day)
        derived = decide(then, gates=terms.gates, policy=terms.policy, versions=decision.versions)
        if derived == decision:
            return then, derived
    made_by, here = decision.versions.software_version, __version__
    other = (
        ""
        if decision.versions.software == software_digest()
        else (f" It was made by version {made_by} of the software, this is {here}, whose rule may be another.")
    )
    raise DecisionDiffers(f"The recorded decision for {pseudonym} doesn't follow from the recorded evidence.{other}")


def _undecided(name: str) -> SpecimenUnknown:
    return SpecimenUnknown(f"There is no decision for {name} yet.", remedy="Let the run finish this specimen first.")


def _find(records: Records, name: str) -> str:
    for filed in records.specimens():
        if name in {filed.specimen, records.pseudonym("specimen", filed.specimen)}:
            return filed.specimen
    raise SpecimenUnknown(f"{name} is no specimen of these records.")
