"""The records of a site: what rooms above this floor see of the database."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from pellucid.domain.decision import Decision, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.scan import ScanIdentity
from pellucid.records import audit, decisions, known_files, pseudonyms, results, runs, specimens, verification
from pellucid.records.audit import Subject
from pellucid.records.certification_records import CertificationRecords
from pellucid.records.errors import SpecimenUnknown, ValueUnrecordable
from pellucid.records.queue_records import QueueRecords
from pellucid.records.types import (
    Action,
    AuditEvent,
    AuditHead,
    AuditReport,
    IdentityConflict,
    PseudonymKind,
    RecordedDecision,
    Run,
    RunState,
    ScanResult,
    ScanRow,
    Specimen,
)


class Records(QueueRecords, CertificationRecords):
    """One open database. Each method is one transaction: it happens as a whole or not at all.

    Safe for several threads and processes; not to be carried across a fork. Any writing method raises `StorageFull`,
    `RecordsLocked`, `RecordsDamaged` or `RecordsUnavailable` where the database can't be written. Made by
    `open_records`.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # Runs

    def start_run(
        self, *, run_id: str, purpose: str, versions: Versions, settings: Mapping[str, Any], command: str
    ) -> None:
        """Record that a run starts; earlier runs whose process died are recorded as interrupted.

        Raises:
            RunUnknown: the identifier is taken.
            ValueUnrecordable: `settings` isn't plain JSON.
        """
        with self._database.write() as connection:
            runs.start(
                connection,
                self._trail,
                run_id=run_id,
                purpose=purpose,
                versions=versions,
                settings=settings,
                command=command,
            )

    def finish_run(self, run_id: str, state: RunState | str, summary: Mapping[str, Any]) -> None:
        """Record how a run ended: `completed`, `failed` or `interrupted`.

        Raises:
            RunUnknown: no such run is running.
        """
        with self._database.write() as connection:
            runs.finish(connection, self._trail, run_id, RunState(state), summary)

    def runs(self) -> list[Run]:
        """All runs in the order of their start."""
        with self._database.read() as connection:
            return runs.read(connection)

    # Pseudonyms

    def site_salt(self) -> bytes:
        """The 32 random bytes that key this site's pseudonyms and seals; they never leave the site."""
        return self._trail.salt

    def pseudonym(self, kind: PseudonymKind, identifier: str) -> str:
        """The identifier's stable pseudonym, such as `S-7K3QW9TD`, assigned at first use."""
        with self._database.read() as connection:
            known = pseudonyms.find(connection, kind, identifier)
        if known is not None:
            return known
        with self._database.write() as connection:
            return pseudonyms.find_or_assign(connection, self._trail.salt, kind, identifier)

    def identify(self, pseudonym: str, *, actor: str | None = None) -> tuple[str, str] | None:
        """Kind and identifier behind a pseudonym, for authorised use: the look-up is an audit event."""
        with self._database.write() as connection:
            self._trail.append(
                connection,
                Action.IDENTITY_LOOKUP,
                Subject("pseudonym", pseudonym),
                actor=actor,
            )
            return pseudonyms.identify(connection, pseudonym)

    # Specimens and scans

    def register_specimen(
        self,
        specimen: str,
        case: str,
        patient: str,
        expected_scans: Sequence[str],
        strata: Mapping[str, str],
        *,
        n_expected: int | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Record a specimen, and what its decision waits for in the place of what was said earlier.

        Args:
            specimen: its name.
            case: the case it belongs to.
            patient: whose it is.
            expected_scans: the task keys of its scans that are known.
            strata: groups that it is counted in.
            n_expected: how many scans will come in all; those known are all where omitted.
            wait_s: how many seconds the missing ones are waited for, counted from the specimen's first registration
                by the database's clock; for ever where omitted.

        Raises:
            SpecimenConflict: it is known under another case or patient.
        """
        with self._database.write() as connection:
            specimens.register(
                connection,
                self._trail,
                specimen=specimen,
                case=case,
                patient=patient,
                expected=expected_scans,
                strata=strata,
                n_expected=n_expected,
                wait_s=wait_s,
            )

    def waiting_specimens(self) -> list[Specimen]:
        """Specimens of which fewer scans are known than will come, in the order of their registration."""
        with self._database.read() as connection:
            return specimens.read(connection, waiting_only=True)

    def specimens(self) -> list[Specimen]:
        """All specimens in the order of their registration."""
        with self._database.read() as connection:
            return specimens.read(connection)

    def specimen(self, specimen: str) -> Specimen:
        """One specimen.

        Raises:
            SpecimenUnknown: it was never registered.
        """
        with self._database.read() as connection:
            found = specimens.read(connection, specimen)
        if not found:
            raise SpecimenUnknown(f"Specimen {specimen} was never registered in these records.")
        return found[0]

    def register_scan(self, scan: ScanRow) -> IdentityConflict | None:
        """Record a scan under its specimen; tells where the same digest is filed under another case.

        Raises:
            SpecimenUnknown: the specimen was never registered.
        """
        with self._database.write() as connection:
            return specimens.register_scan(connection, self._trail, scan)

    def withdraw_scan(self, digest: str, specimen: str, *, actor: str) -> bool:
        """Take a wrongly filed scan off a specimen; the row stays, marked. False where it wasn't filed there."""
        with self._database.write() as connection:
            return specimens.withdraw_scan(connection, self._trail, digest=digest, specimen=specimen, actor=actor)

    def scans(self, specimen: str | None = None) -> list[ScanRow]:
        """Scans as filed, withdrawn ones left out."""
        with self._database.read() as connection:
            return specimens.read_scans(connection, specimen)

    def identity_conflicts(self, digest: str | None = None) -> list[IdentityConflict]:
        """Digests that are filed under more than one case; of one digest, its conflict or none."""
        with self._database.read() as connection:
            return specimens.conflicts(connection, digest=digest)

    def known_identity(self, path: str, fingerprint: str) -> ScanIdentity | None:
        """What the file's bytes were when they were last hashed; None where it is unknown or changed since."""
        with self._database.read() as connection:
            return known_files.find(connection, path, fingerprint)

    def remember_identity(self, path: str, fingerprint: str, identity: ScanIdentity) -> None:
        """Keep what the file's bytes are, in the place of what was known of the path."""
        with self._database.write_rows() as connection:
            known_files.remember(connection, path, fingerprint, identity)

    # Results

    def scan_results(self, specimen: str | None = None, *, run_id: str | None = None) -> list[ScanResult]:
        """Results in the order they were recorded; of a specimen, those of its expected task keys.

        Raises:
            SpecimenUnknown: the specimen was never registered.
        """
        keys = None if specimen is None else self.specimen(specimen).expected
        with self._database.read() as connection:
            return results.read_results(connection, keys=keys, run_id=run_id)

    def observations(
        self,
        since: str | None = None,
        model: str | None = None,
        *,
        run_id: str | None = None,
        latest_only: bool = True,
    ) -> list[Observation]:
        """Observations in the order they were recorded.

        Args:
            since: not before this time, as the clock writes it.
            model: only of this model digest.
            run_id: only of this run.
            latest_only: of a retried scan, only the last attempt's.
        """
        with self._database.read() as connection:
            return results.read_observations(
                connection, since=since, model=model, run_id=run_id, latest_only=latest_only
            )

    # Decisions

    def save_decision(self, decision: Decision, *, run_id: str) -> int:
        """Record a decision as the specimen's next version; one equal to its latest adds nothing.

        Returns:
            The version under which it stands.

        Raises:
            SpecimenUnknown: the specimen was never registered.
            RunUnknown: the run was never started.
            ValueUnrecordable: a number in it isn't finite.
        """
        with self._database.write() as connection:
            return decisions.save(connection, self._trail, decision, run_id=run_id)

    def decisions(self, latest_only: bool = True, *, run_id: str | None = None) -> list[RecordedDecision]:
        """Decisions in the order they were recorded; the latest of each specimen, or all versions."""
        with self._database.read() as connection:
            return decisions.read(connection, latest_only=latest_only, specimen=None, run_id=run_id)

    def decision(self, specimen: str) -> RecordedDecision | None:
        """The specimen's latest decision, None where there is none."""
        with self._database.read() as connection:
            found = decisions.read(connection, latest_only=True, specimen=specimen, run_id=None)
        return found[0] if found else None

    # Audit

    def audit_append(
        self,
        action: Action | str,
        *,
        actor: str | None = None,
        object_type: str,
        object_id: str,
        payload: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> AuditEvent:
        """Append an event of its own. Neither `object_id` nor `payload` may hold patient data, paths or file names.

        Raises:
            ValueUnrecordable: `payload` isn't plain JSON with finite numbers, or the action isn't known.
            RunUnknown: the run was never started.
        """
        if action not in set(Action):
            raise ValueUnrecordable(f"{action!r} is no action of the audit trail.", remedy="Use one of `Action`.")
        with self._database.write() as connection:
            return self._trail.append(
                connection,
                Action(action),
                Subject(object_type, object_id),
                details=payload,
                run_id=run_id,
                actor=actor,
            )

    def audit_events(self, *, after: int = 0, limit: int | None = None) -> list[AuditEvent]:
        """Events with a number above `after`, in order, at most `limit`."""
        with self._database.read() as connection:
            return audit.read_events(connection, after=after, limit=limit)

    def audit_head(self) -> AuditHead:
        """The last event's number and leaf, to be noted outside the database."""
        with self._database.read() as connection:
            return audit.read_head(connection)

    def verify_audit(self, *, expect_head: AuditHead | None = None, skew_s: float = 5.0) -> AuditReport:
        """Check the trail and every row it seals; changes nothing.

        Args:
            expect_head: a head noted earlier, which the trail must still hold.
            skew_s: by how many seconds an event's time may lie before that of the events before it.
        """
        with self._database.read() as connection:
            return verification.verify(connection, expect_head=expect_head, skew_s=skew_s)
