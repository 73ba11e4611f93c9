"""From records to a specimen's evidence, and from there to its decision."""

from dataclasses import replace
from typing import TYPE_CHECKING

from pellucid.domain.decision import Decision, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reasons import Finding, Reason
from pellucid.pipeline.errors import IdentityConflict, ScanUnanswerable
from pellucid.records import Records, ScanResult, Specimen, Task, TaskState
from pellucid.triage import Failure, Gates, ScanEvidence, SpecimenEvidence, decide
from pellucid.triage.decide import scan_findings

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

_ENDED = {TaskState.DONE, TaskState.FAILED}

__all__ = ["decide_specimen", "gates_of", "gather_evidence", "scan_findings"]


def gates_of(bundle: "Bundle") -> Gates:
    """The bundle's part in a decision."""
    return Gates(
        temperature=bundle.calibration.temperature,
        level=bundle.calibration.level,
        sd_limit=bundle.reference.sd_limit,
        distance_limit=bundle.reference.distance_limit,
        synthetic_model=bundle.synthetic,
    )


def decide_specimen(
    records: Records, specimen: str, *, gates: Gates, policy: SitePolicy, versions: Versions, run_id: str
) -> Decision | None:
    """Decide a specimen and record it; None where one of its scans hasn't ended or the decision already stands."""
    evidence = gather_evidence(records, specimen)
    if evidence is None:
        return None
    decision = decide(evidence, gates=gates, policy=policy, versions=versions)
    before = records.decision(specimen)
    if before is not None and _stands(before.decision, decision):
        return None
    records.save_decision(decision, run_id=run_id)
    return decision


def _stands(before: Decision, after: Decision) -> bool:
    """Whether nothing changed but the software; a mere upgrade makes no new version of a decision."""
    same = (before.versions.model, before.versions.policy) == (after.versions.model, after.versions.policy)
    return same and replace(after, versions=before.versions) == before


def gather_evidence(records: Records, specimen: str) -> SpecimenEvidence | None:
    """All that the records hold for a decision; None where a scan hasn't ended.

    A scan under an identity conflict is held: it contributes no logits, even where it was scored before the conflict.
    """
    filed = records.specimen(specimen)
    tasks = {task.key: task for task in records.tasks(keys=filed.expected)}
    if any(key not in tasks or tasks[key].state not in _ENDED for key in filed.expected):
        return None
    results = {result.task_key: result for result in records.scan_results(specimen)}
    held = {conflict.digest: conflict for conflict in records.identity_conflicts() if specimen in conflict.specimens}
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
    coded = [finding for finding in result.findings if finding.code] if result is not None else []
    return _failure_of(coded[0]) if coded else None


def _failure_of(finding: Finding) -> Failure:
    return Failure(code=finding.code or ScanUnanswerable.__name__, message=finding.detail, reason=finding.reason)


def _conflict(records: Records, filed: Specimen, specimens: tuple[str, ...]) -> str:
    others = sorted(records.pseudonym("specimen", name) for name in specimens if name != filed.specimen)
    return f"A scan of this specimen is also filed under {', '.join(others)}"
