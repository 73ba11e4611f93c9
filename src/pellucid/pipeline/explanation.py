"""A specimen's answer, derived again from what is stored of it, without the model and without torch."""

from dataclasses import dataclass

from pellucid.domain.decision import Decision
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.pipeline.decisions import gather_evidence, terms_of
from pellucid.pipeline.errors import DecisionDiffers, SpecimenUnknown
from pellucid.records import RecordedDecision, Records
from pellucid.triage import Gates, SpecimenEvidence, decide, specimen_posterior


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStep:
    """What one scan adds: its pseudonym, and its own posterior where it gave an answer."""

    pseudonym: str
    posterior: Posterior | None
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a decision follows from the stored evidence; `derived` equals what is recorded."""

    pseudonym: str
    recorded: RecordedDecision
    derived: Decision
    gates: Gates
    policy: SitePolicy
    evidence: SpecimenEvidence
    scans: tuple[ScanStep, ...]


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
    evidence = gather_evidence(records, specimen, lane=terms.lane, on=recorded.at[:10])
    if evidence is None:
        raise _undecided(name)
    derived = decide(evidence, gates=terms.gates, policy=terms.policy, versions=recorded.decision.versions)
    pseudonym = records.pseudonym("specimen", specimen)
    if derived != recorded.decision:
        raise DecisionDiffers(f"The recorded decision for {pseudonym} doesn't follow from the recorded evidence.")
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
    )


def _undecided(name: str) -> SpecimenUnknown:
    return SpecimenUnknown(f"There is no decision for {name} yet.", remedy="Let the run finish this specimen first.")


def _find(records: Records, name: str) -> str:
    for filed in records.specimens():
        if name in {filed.specimen, records.pseudonym("specimen", filed.specimen)}:
            return filed.specimen
    raise SpecimenUnknown(f"{name} is no specimen of these records.")
