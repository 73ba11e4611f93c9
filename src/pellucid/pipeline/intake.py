"""Intake: each scan is hashed once, filed under its specimen, and its work entered into the task table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.domain.scan import ScanIdentity
from pellucid.pipeline.errors import FileUnhashable, IdentityConflict
from pellucid.pipeline.interruption import StopRequest
from pellucid.records import EnqueueResult, NewTask, Records, Run, ScanRow, TaskState, task_key
from pellucid.slides import identify

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.domain.policy import SitePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A scan at intake: `identity`, or `error` where its file can't be read; `key` is that of its result."""

    entry: ScanEntry
    identity: ScanIdentity | None
    error: PellucidError | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """What a result depends on beside the scan: the rest of its key."""

    model: str
    policy: str
    purpose: str

    @classmethod
    def of(cls, bundle: "Bundle", policy: "SitePolicy", purpose: str) -> "KeyParts":
        """The parts for a bundle (by its own digest, so that a new temperature is a new answer) and a policy."""
        return cls(model=bundle.digest, policy=policy.digest, purpose=purpose)

    @classmethod
    def of_run(cls, run: Run) -> "KeyParts":
        """The parts that an earlier run's results had."""
        return cls(model=run.settings["bundle_digest"], policy=run.versions.policy, purpose=run.purpose)

    def key(self, scan: str, entry: ScanEntry) -> str:
        """The key of a scan's result."""
        return task_key(
            scan=scan, model=self.model, policy=self.policy, overrides={"mpp": entry.mpp}, purpose=self.purpose
        )

    @property
    def lane(self) -> str:
        """What keeps apart the tasks of different bundles, policies and purposes in one table."""
        return digest_json([self.model, self.policy, self.purpose])[:16]


def receive(cohort: Cohort, parts: KeyParts, progress: Callable[[int, int], None], stop: StopRequest) -> list[Arrival]:
    """Hash every scan of the cohort; one that can't be read arrives with its error.

    Raises:
        KeyboardInterrupt: asked to stop. A cohort known in part must not be entered: its specimens would be decided
            without the scans that were not looked at.
    """
    arrivals = []
    for done, entry in enumerate(cohort.entries, start=1):
        if stop.asked:
            raise KeyboardInterrupt
        arrivals.append(_arrive(entry, parts))
        progress(done, len(cohort.entries))
    return arrivals


def _arrive(entry: ScanEntry, parts: KeyParts) -> Arrival:
    try:
        identity = identify_file(entry.path)
    except PellucidError as error:
        place = digest_json(["absent", str(entry.path)])
        return Arrival(entry=entry, identity=None, error=error, key=parts.key(place, entry))
    return Arrival(entry=entry, identity=identity, error=None, key=parts.key(identity.digest, entry))


def identify_file(path: Path) -> ScanIdentity:
    """The scan's identity.

    Raises:
        PellucidError: the file is missing, forbidden, empty or no regular file, or reading it failed.
    """
    try:
        return identify(path)
    except OSError as error:
        raise FileUnhashable(f"The file's bytes can't be read: {error.strerror}.") from error
    except ValueError as error:  # a path that no system call takes, such as one with a null byte
        raise FileUnhashable("The file's path is none that this system can open.") from error


def enter(
    arrivals: Sequence[Arrival], records: Records, *, run_id: str, parts: KeyParts, retry_failed: bool
) -> EnqueueResult:
    """File every arrival under its specimen and enter its work; what is finished under the same key stays finished.

    A file that could not be read at an earlier run is looked at again by each run. The table says which scans a
    specimen has: others that were filed under it are withdrawn, so that a corrected table ends an identity conflict,
    and what failed for that conflict alone is tried again.
    """
    groups: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        groups.setdefault(arrival.entry.specimen, []).append(arrival)
    for specimen, members in groups.items():
        first = members[0].entry
        records.register_specimen(
            specimen=specimen,
            case=first.case,
            patient=first.patient,
            expected_scans=tuple(dict.fromkeys(member.key for member in members)),
            strata=dict(first.strata),
        )
        for member in members:
            if member.identity is not None:
                records.register_scan(_row(member, member.identity))
        _withdraw_others(records, specimen, members, actor=f"run:{run_id}")
    unique = {arrival.key: arrival for arrival in arrivals}
    entered = records.enqueue([_task(arrival, parts) for arrival in unique.values()], run_id=run_id)
    again = {key for key in entered.failed if retry_failed or unique[key].identity is None}
    again |= _released(records, parts.lane)
    if again:
        records.retry_failed(keys=again, run_id=run_id)
    return entered


def _withdraw_others(records: Records, specimen: str, members: Sequence[Arrival], *, actor: str) -> None:
    named = {member.identity.digest for member in members if member.identity is not None}
    unread = {str(member.entry.path) for member in members if member.identity is None}
    for filed in records.scans(specimen):
        if filed.digest not in named and filed.path not in unread:
            records.withdraw_scan(filed.digest, specimen, actor=actor)


def _released(records: Records, lane: str) -> set[str]:
    """Tasks that failed for an identity conflict that is no more."""
    held = {conflict.digest for conflict in records.identity_conflicts()}
    failed = (task for task in records.tasks(state=TaskState.FAILED) if task.lane == lane)
    return {task.key for task in failed if task.error_code == IdentityConflict.code and task.scan_digest not in held}


def _row(arrival: Arrival, identity: ScanIdentity) -> ScanRow:
    return ScanRow(
        digest=identity.digest,
        specimen=arrival.entry.specimen,
        block=arrival.entry.block,
        slide=arrival.entry.slide,
        path=str(arrival.entry.path),
        size_bytes=identity.size_bytes,
        n_files=identity.n_files,
    )


def _task(arrival: Arrival, parts: KeyParts) -> NewTask:
    return NewTask(
        key=arrival.key,
        kind=parts.purpose,
        lane=parts.lane,
        specimen=arrival.entry.specimen,
        scan_digest=None if arrival.identity is None else arrival.identity.digest,
        payload={"path": str(arrival.entry.path), "mpp": arrival.entry.mpp},
    )
