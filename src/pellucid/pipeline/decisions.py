"""From records to a specimen's evidence, and from there to its decision."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pellucid.core.clock import utc_now
from pellucid.core.serial import from_plain
from pellucid.domain.decision import Decision, Disposition, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.pipeline.errors import IdentityConflict
from pellucid.pipeline.filing import Entered, KeyParts
from pellucid.records import RecordedDecision, Records, Run, ScanResult, Specimen, Task, TaskState
from pellucid.triage import Failure, Gates, LateScans, ScanEvidence, SpecimenEvidence, decide, scan_findings

if TYPE_CHECKING:
    from pellucid.pipeline.models import Model

_A_MOMENT = timedelta(minutes=10)
_ENDED = set(TaskState) - {TaskState.QUEUED, TaskState.LEASED}

__all__ = [
    "Terms",
    "days_of",
    "decide_again",
    "decide_entered",
    "decide_specimen",
    "due",
    "gates_of",
    "gather_evidence",
    "scan_findings",
    "terms_of",
]


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


def gates_of(bundle: "Model") -> Gates:
    """The bundle's part in a decision, and the limits of scan quality that it is made with."""
    from pellucid.bundle.gates import make_gates

    return make_gates(bundle.calibration, bundle.reference, bundle.tumour, synthetic=bundle.synthetic)


def decide_specimen(records: Records, specimen: str, terms: Terms, *, run_id: str) -> Decision | None:
    """Decide a specimen and record it; None where it has to wait or the decision already stands.

    It waits for each of its scans to end, and for those that haven't arrived until its deadline. Past that it is
    decided without them, as an incomplete case; a scan that arrives later makes a new version, which says so.
    """
    before = records.decision(specimen)
    decision = _decided_anew(records, specimen, terms, before)
    if decision is not None:
        records.save_decision(decision, run_id=run_id)
    return decision


def _decided_anew(records: Records, specimen: str, terms: Terms, before: RecordedDecision | None) -> Decision | None:
    """The decision as it is today; None where it has to wait, or the earlier one stands."""
    evidence = gather_evidence(records, specimen, lane=terms.lane)
    if evidence is None or (before is not None and _stands(before, evidence, terms)):
        return None
    return decide(evidence, gates=terms.gates, policy=terms.policy, versions=terms.versions)


def decide_entered(records: Records, entered: Entered, terms: Terms, *, run_id: str) -> list[Decision]:
    """Decide what the entry of a specimen made ready: itself, where all was known, and those it was held with.

    The others may be of earlier runs, and are then decided under their own terms.
    """
    decided = [decide_specimen(records, entered.specimen, terms, run_id=run_id)]
    for name in sorted(entered.touched):
        decided.append(decide_specimen(records, name, terms, run_id=run_id))
        decided.append(decide_again(records, name, software=terms.versions))
    return [decision for decision in decided if decision is not None]


def due(records: Records, terms: Terms) -> list[str]:
    """The specimens that stopped waiting for scans which never arrived, and have no decision about those that did.

    Each is one for `decide_specimen`. A specimen of which nothing arrived has no tasks, and so none of another lane: it
    is due for whoever asks first.
    """
    return [
        filed.specimen
        for filed in records.waiting_specimens()
        if filed.overdue and not _is_decided(records, filed, terms.versions)
        if gather_evidence(records, filed.specimen, lane=terms.lane) is not None
    ]


def _is_decided(records: Records, filed: Specimen, versions: Versions) -> bool:
    """Whether the latest decision is about as many scans as arrived, under the same model and policy."""
    before = records.decision(filed.specimen)
    if before is None or len(before.decision.scans) != len(filed.expected):
        return False
    made = before.decision.versions
    return not filed.expected or (made.model, made.policy) == (versions.model, versions.policy)


def decide_again(records: Records, specimen: str, *, software: Versions) -> Decision | None:
    """Decide a specimen of an earlier run anew under that run's own terms; None where the decision stands.

    The decision is filed under that run, whose gates and policy `explain` needs to derive it. That policy may be in
    force no longer: it can still hold an answer back, but not let one that a person had to look at go out without.

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
    decision = _decided_anew(records, specimen, replace(terms, versions=versions), before)
    reported = Disposition.REPORTED
    if decision is None or (decision.disposition is reported and before.decision.disposition is not reported):
        return None
    records.save_decision(decision, run_id=before.run)
    return decision


def days_of(recorded: RecordedDecision) -> tuple[str, ...]:
    """The day on which a decision was recorded, and the one that it may have been made on a moment before."""
    moment = datetime.fromisoformat(recorded.at)
    return tuple(dict.fromkeys(one.date().isoformat() for one in (moment, moment - _A_MOMENT)))


def _stands(recorded: RecordedDecision, evidence: SpecimenEvidence, terms: Terms) -> bool:
    """Whether nothing changed but the software or the day.

    Neither an upgrade nor the expiry of a certificate makes a new version of what was decided while it held.
    """
    before = recorded.decision
    if (before.versions.model, before.versions.policy) != (terms.versions.model, terms.versions.policy):
        return False
    return any(
        decide(replace(evidence, on=day), gates=terms.gates, policy=terms.policy, versions=before.versions) == before
        for day in dict.fromkeys((evidence.on, *days_of(recorded)))
    )


def gather_evidence(records: Records, specimen: str, *, lane: str) -> SpecimenEvidence | None:
    """All that the records hold for a decision; None where a scan hasn't ended, or one that hasn't come isn't overdue.

    None too where the specimen waits for the tasks of another lane: another run has taken it over, and its answers,
    of another bundle or policy, are not this one's to combine.

    A scan under an identity conflict is held: it contributes no logits, even where it was scored before the conflict.
    The day is today.
    """
    filed = records.specimen(specimen)
    expected = max(filed.n_expected or 0, len(filed.expected))
    if len(filed.expected) < expected and not filed.overdue:
        return None
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
        expected=expected,
        strata=filed.strata,
        conflicts=tuple(_conflict(records, filed, conflict.specimens) for conflict in held.values()),
        late=_late(_history(records, specimen), tuple(scan.scan for scan in scans)),
        on=utc_now()[:10],
    )


def _history(records: Records, specimen: str) -> list[RecordedDecision]:
    """All versions of a specimen's decision, in their order."""
    latest = records.decision(specimen)
    if latest is None or latest.version == 1:
        return [] if latest is None else [latest]
    return [one for one in records.decisions(latest_only=False) if one.decision.specimen == specimen]


def _late(history: list[RecordedDecision], scans: tuple[str, ...]) -> LateScans | None:
    """What arrived after the last version that was made of some of these scans and no others.

    It is the same whenever it is asked, also once the version that tells of it is recorded.
    """
    for before in reversed(history):
        earlier = set(before.decision.scans)
        if earlier < set(scans):
            return LateScans(version=before.version, scans=tuple(scan for scan in scans if scan not in earlier))
    return None


def _evidence(task: Task, result: ScanResult | None, *, is_held: bool) -> ScanEvidence:
    return ScanEvidence(
        scan=task.scan_digest or task.key,
        logits=None if result is None or result.posterior is None or is_held else result.logits,
        quality=None if result is None else result.quality,
        distance=None if result is None else result.observation.distance,
        synthetic=None if result is None or result.info is None else result.info.synthetic,
        failure=_failure(task, result, is_held=is_held),
        tumour_share=None if result is None else result.observation.tumour_share,
        scanner=None if result is None or result.info is None else result.info.scanner,
    )


def _failure(task: Task, result: ScanResult | None, *, is_held: bool) -> Failure | None:
    if is_held:
        return Failure(
            code=IdentityConflict.code,
            message="Held: the same scan is filed under another case",
            reason=Reason.IDENTITY_CONFLICT,
        )
    if task.state is not TaskState.DONE:
        return Failure(code=task.error_code or "", message=task.error_message or "")
    for finding in () if result is None else result.findings:
        if finding.code:
            return Failure(code=finding.code, message=finding.detail, reason=finding.reason)
    return None


def _conflict(records: Records, filed: Specimen, specimens: tuple[str, ...]) -> str:
    others = sorted(records.pseudonym("specimen", name) for name in specimens if name != filed.specimen)
    return f"A scan of this specimen is also filed under {', '.join(others)}"
