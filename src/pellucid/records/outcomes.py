"""How a task ends: its rows, its state and the audit event, all in the caller's one transaction."""

from sqlalchemy import Connection

from pellucid.domain.observation import Observation
from pellucid.records import queue, reclaiming, runs
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.results import Answer, insert_observation, insert_result
from pellucid.records.tables import observation as observations
from pellucid.records.tables import scan_result
from pellucid.records.task_types import ClaimedTask, Task, TaskState
from pellucid.records.types import Action


def complete(
    connection: Connection, trail: AuditTrail, task: ClaimedTask, observation: Observation, answer: Answer
) -> None:
    """Record a task's answer; nothing where this claim had recorded it before.

    Raises:
        LeaseLost: another worker has the task.
        RunUnknown: the observation's run was never started.
        ValueUnrecordable: a number isn't finite.
    """
    if not queue.finish(connection, task, TaskState.DONE):
        return
    runs.require(connection, observation.run)
    observation_id = insert_observation(connection, task, observation)
    result_id = insert_result(connection, task, observation, observation_id, answer)
    trail.append(
        connection,
        Action.PREDICT,
        _subject(task),
        rows=[(observations, observation_id), (scan_result, result_id)],
        details={
            "task": task.key,
            "attempt": task.attempts,
            "specimen": trail.specimen(connection, task.specimen).id,
            **answer.summary(),
        },
        run_id=observation.run,
    )


def fail(
    connection: Connection,
    trail: AuditTrail,
    task: ClaimedTask,
    state: TaskState,
    *,
    code: str,
    message: str,
    observation: Observation | None,
) -> None:
    """Record that a task failed or is quarantined; nothing where this claim had recorded it before.

    The message may name files and stays out of the audit trail.

    Raises:
        LeaseLost: another worker has the task.
        RunUnknown: the observation's run was never started.
    """
    if not queue.finish(connection, task, state, code=code, message=message):
        return
    rows = []
    run_id = task.run
    if observation is not None:
        runs.require(connection, observation.run)
        run_id = observation.run
        rows = [(observations, insert_observation(connection, task, observation))]
    details = {"task": task.key, "attempt": task.attempts, "code": code, "state": state.value}
    details["specimen"] = trail.specimen(connection, task.specimen).id
    trail.append(connection, Action.PREDICT_FAIL, _subject(task), rows=rows, details=details, run_id=run_id)


def give_up_deadly(connection: Connection, trail: AuditTrail) -> None:
    """Quarantine, and record so, the tasks whose workers died each time they worked on nothing else."""
    for task in reclaiming.quarantine_deadly(connection):
        details = {"task": task.key, "attempt": task.attempts, "code": task.error_code, "state": task.state.value}
        details["specimen"] = trail.specimen(connection, task.specimen).id
        trail.append(connection, Action.PREDICT_FAIL, _subject(task), details=details, run_id=task.run)


def _subject(task: ClaimedTask | Task) -> Subject:
    """The scan where its bytes are known, else the task; a key is a digest too."""
    return Subject("task", task.key) if task.scan_digest is None else Subject("scan", task.scan_digest)
