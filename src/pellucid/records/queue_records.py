"""The part of `Records` that is the queue."""

import time
from collections.abc import Collection, Mapping, Sequence

from pellucid.domain.observation import Observation
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Finding
from pellucid.domain.scan import ScanInfo
from pellucid.records import entering, operators, outcomes, queue, queue_reading, reclaiming, results, runs, specimens
from pellucid.records.audit import AuditTrail
from pellucid.records.database import Database
from pellucid.records.errors import Quarantined
from pellucid.records.task_types import ClaimedTask, EnqueueResult, NewTask, Pause, QueueSummary, Task, TaskState

_HANDS_OFF_S = (0.005, 0.02, 0.1, 0.3)  # how often, and how long, to wait for a claim that another process is making


class QueueRecords:
    """The task table as a queue.

    The first argument of most methods is a task as claimed. A lost lease is said by False or `LeaseLost`; its holder
    then throws away what it made.
    """

    def __init__(self, database: Database, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail

    def enqueue(
        self, tasks: Sequence[NewTask], *, run_id: str | None = None, retry_failed: bool = False
    ) -> EnqueueResult:
        """Add tasks whose key is new; one that waits gets the new payload, and the new priority where it is higher.

        Leases of dead workers are taken back first, so that what an interrupted run had begun is queued again. What is
        done or quarantined stays so.

        Args:
            tasks: what to do; several with one key count once, the last.
            run_id: the run that asks, kept on the task.
            retry_failed: queue failed ones again.

        Raises:
            SpecimenUnknown: a task's specimen was never registered.
            RunUnknown: the run was never started.
        """
        with self._database.write() as connection:
            specimens.require(connection, [task.specimen for task in tasks])
            if run_id is not None:
                runs.require(connection, run_id)
            freed = reclaiming.reclaim(connection).freed
            outcomes.give_up_deadly(connection, self._trail)
            return entering.enqueue(connection, tasks, run_id=run_id, retry_failed=retry_failed, freed=freed)

    def claim(
        self, owner: str, *, lease_s: float = 120, lane: str | None = None, min_priority: int | None = None
    ) -> ClaimedTask | None:
        """Take the task whose turn it is; None where there is none.

        STAT tasks go first; then an hour of waiting counts as much as a step of priority, and among equals the older
        goes first. A paused lane gives none. Expired leases, and at once those of dead processes of this machine, are
        taken back before. After three owners' deaths a task is claimed `alone`; one that ends `max_attempts` owners
        in that way is quarantined with `PEL-RECORD-012`.

        Args:
            owner: `process_owner()`.
            lease_s: seconds until others may take the task, by the database's clock.
            lane: only tasks of this lane; of any where omitted.
            min_priority: only tasks of at least this priority.
        """
        for pause_s in (*_HANDS_OFF_S, None):
            with self._database.write_rows() as connection:
                n_deadly = reclaiming.reclaim(connection).n_deadly
                task = queue.claim(connection, owner, lease_s=lease_s, lane=lane, min_priority=min_priority)
                passed_over = task is None and queue.is_claimable(connection, lane=lane, min_priority=min_priority)
            if n_deadly:
                # Not within the claim: it appends events, for which claims would have to wait for each other.
                with self._database.write() as connection:
                    outcomes.give_up_deadly(connection, self._trail)
            if not passed_over or pause_s is None:
                return task
            time.sleep(pause_s)
        return None

    def extend(self, task: ClaimedTask, lease_s: float = 120, *, progressed: bool = False) -> bool:
        """Prolong the lease from now on; False where it was lost. See `extend_all`."""
        return not self.extend_all([task], lease_s=lease_s, progressed=[task.key] if progressed else [])

    def extend_all(
        self, tasks: Sequence[ClaimedTask], *, lease_s: float = 120, progressed: Collection[str] = ()
    ) -> set[str]:
        """Prolong all leases from now on; the keys of those that were lost.

        Args:
            tasks: as claimed.
            lease_s: seconds until others may take them, by the database's clock.
            progressed: keys of tasks of which a step was durably made since: earlier deaths no longer count.
        """
        with self._database.write_rows() as connection:
            return queue.extend_all(connection, tasks, lease_s=lease_s, progressed=progressed)

    def release(self, task: ClaimedTask) -> bool:
        """Put the task back as if it had not been claimed; False where the lease was lost."""
        with self._database.write_rows() as connection:
            return queue.release(connection, task)

    def retry_later(self, task: ClaimedTask, *, code: str, message: str, delay_s: float) -> bool:
        """Put the task back for an attempt after `delay_s` seconds; this one counts. False where the lease was lost."""
        with self._database.write_rows() as connection:
            return queue.retry_later(connection, task, cause=f"{code}: {message}", delay_s=delay_s)

    def blame(self, task: ClaimedTask, cause: str) -> int:
        """Note that a process died while it worked on this task and on nothing else; how many did. The lease stays.

        Raises:
            LeaseLost: another worker has the task, or it is finished.
        """
        with self._database.write_rows() as connection:
            return queue.blame(connection, task, cause)

    def complete(
        self,
        task: ClaimedTask,
        *,
        observation: Observation,
        logits: Sequence[float] = (),
        posterior: Posterior | None = None,
        quality: Quality | None = None,
        info: ScanInfo | None = None,
        findings: Sequence[Finding] = (),
        n_tiles: int | None = None,
        n_unreadable: int = 0,
        artefacts: Mapping[str, str] | None = None,
    ) -> None:
        """Record a task's answer, its observation, the task as done and the audit event, in one transaction.

        Once more under the same claim, it does nothing: whoever lost the database's answer may ask again.

        Args:
            task: as claimed.
            observation: what was seen; its run must have been started.
            logits: raw logits of each pass, `(passes,)`.
            posterior: None for a scan that gave no answer.
            quality: the scan's quality.
            info: what the scan says of itself.
            findings: the reasons found on this scan.
            n_tiles: tiles on tissue; the observation's where omitted.
            n_unreadable: how many of them could not be read.
            artefacts: file relative to the run's folder -> SHA-256.

        Raises:
            LeaseLost: another worker has the task, or it ended otherwise; nothing is written.
            RunUnknown: the observation's run was never started.
            ValueUnrecordable: a number isn't finite.
        """
        answer = results.Answer(
            logits=logits,
            posterior=posterior,
            quality=quality,
            info=info,
            findings=findings,
            n_tiles=observation.n_tiles if n_tiles is None else n_tiles,
            n_unreadable=n_unreadable,
            artefacts=artefacts or {},
        )
        with self._database.write() as connection:
            outcomes.complete(connection, self._trail, task, observation, answer)

    def fail(self, task: ClaimedTask, *, code: str, message: str, observation: Observation | None = None) -> None:
        """Record that a task failed, with what was observed, and the audit event, in one transaction.

        Once more under the same claim with the same code, it does nothing.

        Raises:
            LeaseLost: another worker has the task, or it ended otherwise; nothing is written.
            RunUnknown: the observation's run was never started.
        """
        self._fail(task, TaskState.FAILED, code, message, observation)

    def quarantine(self, task: ClaimedTask, cause: str, observation: Observation | None = None) -> None:
        """Record that a task is not to be tried again before a person says so: `PEL-RECORD-014`. Else as `fail`."""
        self._fail(task, TaskState.QUARANTINED, Quarantined.code, cause, observation)

    def _fail(
        self, task: ClaimedTask, state: TaskState, code: str, message: str, observation: Observation | None
    ) -> None:
        with self._database.write() as connection:
            outcomes.fail(connection, self._trail, task, state, code=code, message=message, observation=observation)

    # What people do to it

    def retry_failed(
        self, *, keys: Collection[str] | None = None, of_run: str | None = None, run_id: str | None = None
    ) -> int:
        """Queue failed tasks again, their attempts counted anew; their number. Quarantined ones stay.

        Args:
            keys: only these.
            of_run: only those that this run asked for last.
            run_id: the run that asks for them now.

        Raises:
            RunUnknown: the run that asks was never started.
        """
        with self._database.write() as connection:
            return operators.retry_failed(connection, self._trail, keys=keys, of_run=of_run, run_id=run_id)

    def requeue(self, keys: Collection[str], *, actor: str, priority: int | None = None) -> int:
        """Queue failed and quarantined tasks again as if new, and end the back-off of waiting ones; their number."""
        with self._database.write() as connection:
            return operators.requeue(connection, self._trail, keys=keys, actor=actor, priority=priority)

    def quarantine_tasks(self, keys: Collection[str], *, actor: str, reason: str) -> int:
        """Take tasks out of the queue, off their owners too, but for those that are done; their number."""
        with self._database.write() as connection:
            return operators.quarantine(connection, self._trail, keys=keys, actor=actor, reason=reason)

    def prioritise(self, keys: Collection[str], priority: int, actor: str) -> int:
        """Give tasks that wait or are worked on another priority, `STAT_PRIORITY` for the front; how many changed."""
        with self._database.write() as connection:
            return operators.prioritise(connection, self._trail, keys=keys, priority=priority, actor=actor)

    def pause(self, *, lane: str | None = None, reason: str, actor: str) -> bool:
        """Let a lane, or the whole queue, give no tasks; what is worked on goes on. False where it is paused already.

        A paused queue and a paused lane are two things: each ends by its own `resume`.
        """
        with self._database.write() as connection:
            return operators.pause(connection, self._trail, lane=lane, reason=reason, actor=actor)

    def resume(self, *, lane: str | None = None, actor: str) -> bool:
        """End the pause of a lane, or of the whole queue; False where it was not paused."""
        with self._database.write() as connection:
            return operators.resume(connection, self._trail, lane=lane, actor=actor)

    # What it holds

    def pauses(self) -> list[Pause]:
        """The pauses that stand, oldest first."""
        with self._database.read() as connection:
            return queue_reading.read_pauses(connection)

    def tasks(
        self,
        *,
        keys: Collection[str] | None = None,
        specimen: str | None = None,
        state: TaskState | None = None,
        lane: str | None = None,
        limit: int | None = None,
    ) -> list[Task]:
        """Tasks in the order of their creation: those that match all that is given, the first `limit` of them."""
        with self._database.read() as connection:
            return queue_reading.read_tasks(
                connection, keys=keys, specimen=specimen, state=state, lane=lane, limit=limit
            )

    def counts(self, *, lane: str | None = None) -> dict[TaskState, int]:
        """How many tasks are in each state; every state has a number."""
        with self._database.read() as connection:
            return queue_reading.count_states(connection, lane=lane)

    def queue_summary(self, lane: str | None = None) -> QueueSummary:
        """The queue, or one lane of it, in numbers."""
        with self._database.read() as connection:
            return queue_reading.summarise(connection, lane=lane)
