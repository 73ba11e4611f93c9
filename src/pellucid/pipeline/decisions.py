"""From records to a specimen's evidence, and from there to its decision."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pellucid.core.serial import from_plain
from pellucid.domain.decision import Decision, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.pipeline.errors import IdentityConflict
from pellucid.pipeline.intake import KeyParts
from pellucid.records import Records, Run, ScanResult, Specimen, Task, TaskState
from pellucid.triage import Failure, Gates, ScanEvidence, SpecimenEvidence, decide
from pellucid.triage.decide import scan_findings

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

_ENDED = {TaskState.DONE, TaskState.FAILED}

__all__ = ["Terms", "decide_again", "decide_specimen", "gates_of", "gather_evidence", "scan_findings", "terms_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a decision is made under; `lane` is that of the tasks whose answers it may combine."""

    gates: Gates
    policy: SitePolicy
    versions: Versions
    lane: str


def terms_of(run: Run) -> Terms:
    """The terms of an earlier run, as they were recorded with it."""
    return Terms(
        gates=from_plain(Gates, run.settings["gates"]),
        policy=from_plain(SitePolicy, run.settings["policy"]),
        versions=run.versions,
        lane=KeyParts.of_run(run).lane,
    )


def gates_of(bundle: "Bundle") -> Gates:
    """The bundle's part in a decision."""
    return Gates(
        temperature=bundle.calibration.temperature,
        level=bundle.calibration.level,
        sd_limit=bundle.reference.sd_limit,
        distance_limit=bundle.reference.distance_limit,
        synthetic_model=bundle.synthetic,
    )


def decide_specimen(records: Records, specimen: str, terms: Terms, *, run_id: str) -> Decision | None:
    """Decide a specimen and record it; None where one of its scans hasn't ended or the decision already stands."""
    evidence = gather_evidence(records, specimen, lane=terms.lane)
    if evidence is None:
        return None
    decision = decide(evidence, gates=terms.gates, policy=terms.policy, versions=terms.versions)
    before = records.decision(specimen)
    if before is not None and _stands(before.decision, decision):
        return None
    records.save_decision(decision, run_id=run_id)
    return decision


def decide_again(records: Records, specimen: str, *, software: Versions) -> Decision | None:
    """Decide a specimen of an earlier run anew under that run's own terms; None where the decision stands.

    The decision is filed under that run, whose gates and policy `explain` needs to derive it.

    Args:
        records: the records.
        specimen: one that isn't part of the run at hand, but whose evidence may have changed.
        software: the versions of the run at hand, of which only the software counts.
    """
    before = records.decision(specimen)
    if before is None:
        return None
    terms = terms_of(next(run for run in records.runs() if run.run_id == before.run))
    versions = replace(terms.versions, software=software.software, software_version=software.software_version)
    return decide_specimen(records, specimen, replace(terms, versions=versions), run_id=before.run)


def _stands(before: Decision, after: Decision) -> bool:
    """Whether nothing changed but the software; a mere upgrade makes no new version of a decision."""
    same = (before.versions.model, before.versions.policy) == (after.versions.model, after.versions.policy)
    return same and replace(after, versions=before.versions) == before


def gather_evidence(records: Records, specimen: str, *, lane: str) -> SpecimenEvidence | None:
    """All that the records hold for a decision; None where a scan hasn't ended.

    None too where the specimen waits for the tasks of another lane: another run has taken it over, and its answers,
    of another bundle or policy, are not this one's to combine.

    A scan under an identity conflict is held: it contributes no logits, even where it was scored before the conflict.
    """
    filed = records.specimen(specimen)
    tasks = {task.key: task for task in records.tasks(keys=filed.expected)}
    if any(key not in tasks or tasks[key].state not in _ENDED or tasks[key].lane != lane for key in filed.expected):
        return None
    results = {result.task_key: result for result in records.scan_results(specimen)}
    held = {
        conflict.digest: conflict
        for scan in records.scans(specimen)
        for conflict in records.identity_conflicts(scan.digest)
    }
    scans = tuple(
        _evidence(tasks[key], results.get(key), is_held=tasks[key].scan_digest in held) for key in filed.expected
    )
    return SpecimenEvidence(
        specimen=specimen,
        scans=scans,
        expected=len(scans),
        strata=filed.strata,
        conflicts=tuple(_conflict(records, filed, conflict.specimens) for conflict in held.values()),
    )


def _evidence(task: Task, result: ScanResult | None, *, is_held: bool) -> ScanEvidence:
    return ScanEvidence(
        scan=task.scan_digest or task.key,
        logits=None if result is None or result.posterior is None or is_held else result.logits,
        quality=None if result is None else result.quality,
        distance=None if result is None else result.observation.distance,
        synthetic=None if result is None or result.info is None else result.info.synthetic,
        failure=_failure(task, result, is_held=is_held),
    )


def _failure(task: Task, result: ScanResult | None, *, is_held: bool) -> Failure | None:
    if is_held:
        return Failure(
            code=IdentityConflict.code,
            message="Held: the same scan is filed under another case",
            reason=Reason.IDENTITY_CONFLICT,
        )
    if task.state is TaskState.FAILED:
        return Failure(code=task.error_code or "", message=task.error_message or "")
    for finding in () if result is None else result.findings:
        if finding.code:
            return Failure(code=finding.code, message=finding.detail, reason=finding.reason)
    return None


def _conflict(records: Records, filed: Specimen, specimens: tuple[str, ...]) -> str:
    others = sorted(records.pseudonym("specimen", name) for name in specimens if name != filed.specimen)
    return f"A scan of this specimen is also filed under {', '.join(others)}"
