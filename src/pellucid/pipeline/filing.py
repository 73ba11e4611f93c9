"""One specimen at intake: registered, its scans filed, their work entered into the task table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import ScanEntry, expected_scans
from pellucid.domain.scan import ScanIdentity
from pellucid.pipeline.errors import IdentityConflict
from pellucid.records import EnqueueResult, NewTask, Records, Run, ScanRow, SpecimenUnknown, Task, TaskState, task_key
from pellucid.slides.fingerprint import FileChanged

if TYPE_CHECKING:
    from pellucid.pipeline.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParts:
    """What a result depends on beside the scan: the rest of its key.

    The site's policy is no part of it: a new one makes new decisions from the posteriors that are there.
    """

    model: str
    purpose: str

    @classmethod
    def of(cls, bundle: "Model", purpose: str) -> "KeyParts":
        """The parts for a bundle, by its own digest, so that a new temperature is a new answer."""
        return cls(model=bundle.digest, purpose=purpose)

    @classmethod
    def of_run(cls, run: Run) -> "KeyParts":
        """The parts that an earlier run's results had."""
        return cls(model=run.settings["bundle_digest"], purpose=run.purpose)

    def key(self, scan: str, entry: ScanEntry) -> str:
        """The key of a scan's result."""
        return task_key(scan=scan, model=self.model, overrides={"mpp": entry.mpp}, purpose=self.purpose)

    def key_of_unread(self, entry: ScanEntry) -> str:
        """The key that stands for a file which could not be read, and so has no digest."""
        return self.key(digest_json(["absent", str(entry.path)]), entry)

    @property
    def lane(self) -> str:
        """What keeps apart the tasks of different bundles and purposes in one table."""
        return digest_json([self.model, self.purpose])[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A scan at intake: `identity`, or `error` where its file can't be read; `key` is that of its result.

    `fingerprint` is that of the files that have the identity, None where it wasn't taken.
    """

    entry: ScanEntry
    identity: ScanIdentity | None
    error: PellucidError | None
    key: str
    fingerprint: str | None = None

    @classmethod
    def of(
        cls, entry: ScanEntry, answer: ScanIdentity | PellucidError, parts: KeyParts, fingerprint: str | None = None
    ) -> "Arrival":
        """The arrival of an entry whose file was hashed, or could not be."""
        if isinstance(answer, PellucidError):
            return cls(entry=entry, identity=None, error=answer, key=parts.key_of_unread(entry))
        key = parts.key(answer.digest, entry)
        return cls(entry=entry, identity=answer, error=None, key=key, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A specimen that was entered.

    `keys` are those of the tasks that its decision waits for; `queue` says what became of those that were entered,
    before the ones in `again` were queued once more. `errors` says by key why a file could not be read. `touched` are
    other specimens whose identity conflict began or ended, and whose decision may have changed with it.
    """

    specimen: str
    keys: tuple[str, ...]
    queue: EnqueueResult
    again: frozenset[str] = frozenset()
    errors: Mapping[str, PellucidError] = field(default_factory=dict)
    touched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """How specimens are entered.

    `wait_s` is how long a decision waits for scans that haven't arrived, None for ever; a higher `priority` goes
    first. Where `open_ended`, a row's file may still come, or have been moved away since it was done: what is filed
    under its name stays.
    """

    records: Records
    run_id: str
    parts: KeyParts
    retry_failed: bool = False
    wait_s: float | None = 0.0
    priority: int = 0
    open_ended: bool = False

    def enter(self, rows: Sequence[ScanEntry], arrivals: Sequence[Arrival]) -> Entered:
        """File a specimen's scans and enter their work; what is finished under the same key stays finished.

        A file that could not be read, or changed under the hands of an earlier run, is looked at again. The rows say
        which scans the specimen has: others that were filed under it are withdrawn, so that a corrected table ends an
        identity conflict, and what failed for that conflict alone is tried again.

        Args:
            rows: all that the table says of the specimen.
            arrivals: those of the rows whose files were looked at.
        """
        specimen = rows[0].specimen
        earlier = self._filed_earlier(rows, arrivals)
        if arrivals or earlier or not self._has_arrived(specimen):
            self._register(rows, arrivals, earlier)
        touched = self._file_scans(arrivals)
        ended = self._withdraw_others(rows, arrivals)
        unique = {arrival.key: arrival for arrival in arrivals}
        tasks = [self._task(arrival) for arrival in unique.values()]
        entered = self.records.enqueue(tasks, run_id=self.run_id)
        again = self._to_retry(entered.failed, unique) | (self.released() if ended else set())
        if again:
            self.records.retry_failed(keys=again, run_id=self.run_id)
        return Entered(
            specimen=specimen,
            keys=tuple(dict.fromkeys([*unique, *earlier])),
            queue=entered,
            again=frozenset(again),
            errors={arrival.key: arrival.error for arrival in unique.values() if arrival.error is not None},
            touched=frozenset(touched | ended) - {specimen},
        )

    def released(self) -> set[str]:
        """Tasks that failed for an identity conflict that is no more."""
        held = {conflict.digest for conflict in self.records.identity_conflicts()}
        failed = (task for task in self.records.tasks(state=TaskState.FAILED) if task.lane == self.parts.lane)
        return {
            task.key for task in failed if task.error_code == IdentityConflict.code and task.scan_digest not in held
        }

    def _filed_earlier(self, rows: Sequence[ScanEntry], arrivals: Sequence[Arrival]) -> list[str]:
        """The keys of rows whose files are not here, but were when an earlier run took them."""
        missing = {row.path.name: row for row in _missing(rows, arrivals)}
        if not (self.open_ended and missing):
            return []
        filed = [scan for scan in self.records.scans(rows[0].specimen) if Path(scan.path).name in missing]
        keys = [self.parts.key(scan.digest, missing[Path(scan.path).name]) for scan in filed]
        return [task.key for task in self.records.tasks(keys=keys)] if keys else []

    def _has_arrived(self, specimen: str) -> bool:
        """Whether scans of the specimen came to an earlier run, which a run that sees none has nothing to say of."""
        try:
            return bool(self.records.specimen(specimen).expected)
        except SpecimenUnknown:
            return False

    def _register(self, rows: Sequence[ScanEntry], arrivals: Sequence[Arrival], earlier: Sequence[str]) -> None:
        keys = tuple(dict.fromkeys([*(arrival.key for arrival in arrivals), *earlier]))
        # Two rows that name copies of one scan are one task, but both have arrived.
        n_missing = expected_scans(rows) - len(arrivals) - len(earlier)
        first = rows[0]
        self.records.register_specimen(
            specimen=first.specimen,
            case=first.case,
            patient=first.patient,
            expected_scans=keys,
            strata=dict(first.strata),
            n_expected=len(keys) + n_missing if n_missing > 0 else None,
            wait_s=self.wait_s if n_missing > 0 else None,
        )

    def _file_scans(self, arrivals: Sequence[Arrival]) -> set[str]:
        """File what was hashed; the specimens that share a scan with this one, though of another case."""
        touched: set[str] = set()
        for arrival in arrivals:
            if arrival.identity is not None:
                conflict = self.records.register_scan(_row(arrival, arrival.identity))
                touched.update(() if conflict is None else conflict.specimens)
        return touched

    def _withdraw_others(self, rows: Sequence[ScanEntry], arrivals: Sequence[Arrival]) -> set[str]:
        """Withdraw what is filed under the specimen but isn't its own; the specimens that were held with it."""
        named = {arrival.identity.digest for arrival in arrivals if arrival.identity is not None}
        read = {arrival.entry.path for arrival in arrivals if arrival.identity is not None}
        unread = {str(row.path) for row in rows if row.path not in read}
        names = {Path(path).name for path in unread} if self.open_ended else set()
        touched: set[str] = set()
        for filed in self.records.scans(rows[0].specimen):
            if filed.digest in named or filed.path in unread or Path(filed.path).name in names:
                continue
            for conflict in self.records.identity_conflicts(filed.digest):
                touched.update(conflict.specimens)
            self.records.withdraw_scan(filed.digest, filed.specimen, actor=f"run:{self.run_id}")
        return touched

    def _to_retry(self, failed: Sequence[str], unique: Mapping[str, Arrival]) -> set[str]:
        again = {key for key in failed if self.retry_failed or unique[key].identity is None}
        rest = set(failed) - again
        changed = (task.key for task in (self.records.tasks(keys=rest) if rest else ()) if _changed_in_hand(task))
        return again | set(changed)

    def _task(self, arrival: Arrival) -> NewTask:
        entry = arrival.entry
        return NewTask(
            key=arrival.key,
            kind=self.parts.purpose,
            lane=self.parts.lane,
            specimen=entry.specimen,
            scan_digest=None if arrival.identity is None else arrival.identity.digest,
            payload={"path": str(entry.path), "mpp": entry.mpp, "fingerprint": arrival.fingerprint},
            priority=self.priority,
        )


def _missing(rows: Sequence[ScanEntry], arrivals: Sequence[Arrival]) -> list[ScanEntry]:
    looked_at = {arrival.entry.path for arrival in arrivals}
    return [row for row in rows if row.path not in looked_at]


def _changed_in_hand(task: Task) -> bool:
    """Whether it failed because its file changed while it was worked on: what arrived since is another file."""
    return task.error_code == FileChanged.code


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
