"""The engine's ledger over the records: intake, claims, recorded ends, decisions."""

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.core.telemetry import logs
from pellucid.domain.decision import Decision
from pellucid.domain.scan import ScanIdentity
from pellucid.engine.ends import LeaseGone
from pellucid.engine.ledger import Account, Answer, Work
from pellucid.engine.messages import ScanFile
from pellucid.engine.observing import QueueView
from pellucid.pipeline.decisions import Terms, decide_again, decide_specimen, due
from pellucid.pipeline.errors import IdentityConflict, OutputUnusable, TaskSuperseded, UnexpectedFailure
from pellucid.pipeline.intake import Entered, Intake
from pellucid.pipeline.recording import Outcome, Recording, scan_of, unnamed
from pellucid.records import (
    ClaimedTask,
    LeaseLost,
    RecordsDamaged,
    RecordsLocked,
    RecordsUnavailable,
    TaskState,
    process_owner,
)
from pellucid.slides.identity import FileUnhashable

_MPP_DETAIL = "override"
_LOOK_S = 1.0
_LOOK_SHARE = 50.0  # of its own time is waited between two looks: 2 % of the ledger's thread at most
OF_THE_PLACE = (StorageFull, OutputUnusable, RecordsDamaged, RecordsLocked, RecordsUnavailable)
"""Errors of the place that results go to: the next scan would meet them too."""
BACK_OFF_S = (10.0, 60.0)
"""How long a scan rests after its storage failed, and after it failed again."""


class LedgerEvents(Protocol):
    """What is told of the queue and of ends; called in the ledger's thread."""

    def hashed(self, done: int, total: int) -> None:
        """`done` of `total` files were hashed."""

    def queued(self, waiting: int, known: int) -> None:
        """`waiting` scans are to be done; `known` were finished before."""

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        """The scan ended with an answer, or with an error code."""


class Arrivals(Protocol):
    """Where more scans come from while the run goes on."""

    def poll(self, intake: Intake) -> None:
        """Tell the intake what arrived since the last call."""


@dataclass(slots=True)
class Tally:
    """What this run did itself."""

    scored: int = 0
    failed: int = 0
    tiles: int = 0


@dataclass(slots=True, kw_only=True)
class RecordsLedger:
    """Tasks of one lane, from intake to decision.

    Decisions wait until the intake is finished, so that none is made that a later row of the same table would change
    at once; where the intake stays open, a specimen is decided as soon as its scans are in. `decides` is False where
    embeddings are all that is wanted. A ledger that `serves` goes on while the queue is empty.
    """

    recording: Recording
    intake: Intake
    terms: Terms
    events: LedgerEvents
    lease_s: float = 120.0
    decides: bool = True
    serves: bool = False
    arrivals: Arrivals | None = None
    tally: Tally = field(default_factory=Tally)
    queue: QueueView = field(default_factory=QueueView)
    wanted: set[str] = field(default_factory=set)
    known: int = 0
    _awaiting: dict[str, set[str]] = field(default_factory=dict)
    _errors: dict[str, PellucidError] = field(default_factory=dict)
    _to_decide: set[str] = field(default_factory=set)
    _touched: set[str] = field(default_factory=set)
    _ready: bool = False
    _look_again_at: float = 0.0
    _to_hash: Path | None = None

    # Intake

    def to_identify(self) -> Path | None:
        """The next file to hash. Files of earlier runs are known by path, size, time and inode."""
        self._to_hash = self._to_hash or self.intake.to_identify()
        self._entered()  # where the database is gone, this is asked again, and the path must not be lost
        path, self._to_hash = self._to_hash, None
        return path

    def identified(self, path: Path, identity: ScanIdentity, fingerprint: str) -> None:
        """A file's identity."""
        self.intake.identified(path, identity, fingerprint)
        self._entered()

    def unidentified(self, path: Path, error: PellucidError) -> None:
        """A file could not be hashed."""
        self.intake.unreadable(path, error)
        self._entered()

    def _entered(self) -> None:
        entered = self.intake.entered()
        self.events.hashed(self.intake.n_hashed, self.intake.n_files)
        for one in entered:
            self._note(one)
        if entered:
            self.events.queued(len(self.wanted) - self.known, self.known)
        if not self._ready and (self.intake.finished or self.intake.filing.open_ended):
            self._ready = True
        if self._ready:
            self._decide_due()

    def _note(self, entered: Entered) -> None:
        new = set(entered.keys) - self.wanted
        done = {*entered.queue.known_done, *entered.queue.failed, *entered.queue.quarantined} - entered.again
        self.wanted |= new
        self.known += len(new & done)
        self.recording.metrics.slides_received.inc(len(entered.queue.new))
        self._errors.update(entered.errors)
        for key in entered.keys:
            self._awaiting.setdefault(key, set()).add(entered.specimen)
        self._to_decide.add(entered.specimen)
        self._touched |= entered.touched

    # Work

    def claim(self) -> Work | None:
        """Take the next scan of this lane; what can't be worked on is recorded as such on the way."""
        records = self.recording.records
        while True:
            task = records.claim(process_owner(), lease_s=self.lease_s, lane=self.terms.lane)
            if task is None:
                return None
            if self.intake.is_pending(task.specimen):
                # It waits from an earlier run; whether this table still asks for it is known once its row is entered.
                records.release(task)
                return None
            refusal = self._refusal(task)
            if refusal is None:
                return self._work(task)
            self._refuse(self._work(task), refusal)

    def _work(self, task: ClaimedTask) -> Work:
        payload = task.payload
        return Work(
            key=task.key,
            name=self.recording.records.pseudonym("scan", scan_of(task)),
            scan=scan_of(task),
            file=ScanFile(
                path=Path(payload["path"]),
                mpp=payload["mpp"],
                mpp_detail=_MPP_DETAIL,
                fingerprint=payload.get("fingerprint"),
            ),
            priority=task.priority,
            alone=task.alone,
            claim=task,
        )

    def _refusal(self, task: ClaimedTask) -> PellucidError | None:
        """Why a task can't be worked on, if it can't."""
        if task.key in self._errors:
            return self._errors[task.key]
        if task.key not in self.wanted and self._is_superseded(task):
            return TaskSuperseded("A later table no longer asks for this scan, or asks for it at another scale.")
        if task.scan_digest is None:
            return UnexpectedFailure(
                "The file could not be read when its table was run.", remedy="Run that table again: it is read anew."
            )
        for conflict in self.recording.records.identity_conflicts(task.scan_digest):
            return IdentityConflict(f"The same scan is filed under {len(conflict.cases)} cases.")
        return None

    def _is_superseded(self, task: ClaimedTask) -> bool:
        """Whether a later table of the same bundle no longer asks for a scan.

        One of another bundle says nothing about it: it takes over the specimen's decision, not this lane's answers.
        """
        expected = self.recording.records.specimen(task.specimen).expected
        if task.key in expected:
            return False
        lanes = {other.lane for other in self.recording.records.tasks(keys=expected)} if expected else set()
        return task.lane in lanes or not lanes

    def keep(self, works: Sequence[Work], progressed: Collection[str]) -> set[str]:
        """Prolong the leases; the keys of those that are lost."""
        return self.recording.records.extend_all(
            [work.claim for work in works], lease_s=self.lease_s, progressed=progressed
        )

    def release(self, work: Work) -> None:
        """Give a scan back as if it had not been taken."""
        self.recording.records.release(work.claim)

    # Ends

    def answered(self, work: Work, answer: Answer) -> None:
        """Record a scan's answer, and decide its specimen where it was the last."""
        self._end(work, lambda: self._recorded(work, answer))

    def _recorded(self, work: Work, answer: Answer) -> Outcome:
        """The answer, or where it can't be recorded, such as a number that is none, the failure of its scan alone."""
        try:
            return self.recording.answered(work.claim, answer)
        except (*OF_THE_PLACE, LeaseLost):
            raise
        except PellucidError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a fault met on one scan must not end the run of the others
            logs.get_logger("pipeline").error("unexpected failure", exc_info=error)
            failure = UnexpectedFailure(f"{type(error).__name__} while the scan's answer was recorded.")
        account = Account(seconds=answer.seconds, circumstances=answer.circumstances)
        return self.recording.unanswered(work.claim, failure, account)

    def unanswered(self, work: Work, error: PellucidError, account: Account) -> None:
        """Record why a scan has no answer; where its storage failed, it rests and is tried again first."""
        if isinstance(error, FileUnhashable) and work.claim.attempts < work.claim.max_attempts:
            self._put_off(work, error)
            return
        self._end(work, lambda: self.recording.unanswered(work.claim, error, account))

    def _refuse(self, work: Work, refusal: PellucidError) -> None:
        """Record a refusal at once: what the intake met, it meets again at the next run and no sooner."""
        self._end(work, lambda: self.recording.unanswered(work.claim, refusal, Account(seconds={})))

    def _put_off(self, work: Work, error: PellucidError) -> None:
        delay_s = BACK_OFF_S[min(work.claim.attempts, len(BACK_OFF_S)) - 1]
        message = unnamed(error.message, work.file.path)
        if not self.recording.records.retry_later(work.claim, code=error.code, message=message, delay_s=delay_s):
            raise LeaseGone("The scan's lease was taken over while it was worked on.")
        logs.get_logger("pipeline").warning("scan rests", scan=work.name, code=error.code, delay_s=delay_s)

    def quarantined(self, work: Work, cause: str, account: Account) -> None:
        """Record that a scan is kept apart."""
        self._end(work, lambda: self.recording.quarantined(work.claim, cause, account))

    def _end(self, work: Work, record: Callable[[], Outcome]) -> None:
        with logs.bound(scan=work.name):
            try:
                outcome = record()
            except LeaseLost as error:
                self.events.ended(work.name, None, error.code)
                raise LeaseGone(error.message) from error
        self.tally.tiles += outcome.n_tiles
        self.tally.scored += outcome.code is None
        self.tally.failed += outcome.code is not None
        self._to_decide |= self._awaiting.get(work.key, set()) | {work.claim.specimen}
        self.events.ended(work.name, outcome.probability, outcome.code)
        if self._ready:
            with contextlib.suppress(*OF_THE_PLACE):  # the end is recorded; what is to be decided is not forgotten
                self._decide_due()

    # Decisions

    def _decide_due(self) -> None:
        """Decide what has changed. A specimen is struck off only then, so that a lost database costs no decision."""
        if not self.decides:
            self._to_decide.clear()
            self._touched.clear()
            return
        records, terms, run_id = self.recording.records, self.terms, self.recording.run_id
        for specimen in sorted(self._to_decide):
            self._count(decide_specimen(records, specimen, terms, run_id=run_id))
            self._to_decide.discard(specimen)
        for specimen in sorted(self._touched):
            self._count(decide_specimen(records, specimen, terms, run_id=run_id))
            self._count(decide_again(records, specimen, software=terms.versions))
            self._touched.discard(specimen)

    def _count(self, decided: Decision | None) -> None:
        if decided is not None:
            self.recording.metrics.decided(
                decided.verdict.value, decided.disposition.value, [reason.value for reason in decided.reasons]
            )

    # From time to time

    def tick(self) -> None:
        """Look for arrivals and for specimens that have waited long enough; see how the queue stands."""
        if self.arrivals is not None:
            self.arrivals.poll(self.intake)
            self._entered()
        if self._ready and self.decides:
            self._to_decide.update(due(self.recording.records, self.terms))
            self._decide_due()
        self._look_at_queue()

    def _look_at_queue(self) -> None:
        """See how the queue stands, seldom enough that a long one costs little."""
        begun = time.monotonic()
        if begun < self._look_again_at:
            return
        summary = self.recording.records.queue_summary(lane=self.terms.lane)
        self._look_again_at = begun + max(_LOOK_S, _LOOK_SHARE * (time.monotonic() - begun))
        waiting = summary.counts[TaskState.QUEUED]
        states = {state.value: number for state, number in summary.counts.items()}
        states["queued"], states["backoff"] = waiting - summary.in_backoff, summary.in_backoff
        paused = next((one for one in summary.pauses if one.lane in {None, self.terms.lane}), None)
        self.queue = QueueView(
            states=states,
            oldest_waiting_s=summary.oldest_waiting_s,
            oldest_stat_s=summary.oldest_stat_s,
            paused=None if paused is None else f"The queue is paused: {paused.reason}",
        )

    @property
    def finished(self) -> bool:
        """Whether nothing more will come: all files are hashed and decided on, and no task of the lane waits."""
        if self.serves or not self.intake.finished or self.intake.filing.open_ended:
            return False
        self._entered()
        waiting = self.recording.records.queue_summary(lane=self.terms.lane)
        return not waiting.counts[TaskState.QUEUED] and not self._to_decide
