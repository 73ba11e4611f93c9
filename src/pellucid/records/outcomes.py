"""How a task ends: its rows, its state and the audit event, all in the caller's one transaction."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from pellucid.domain.observation import Observation
from pellucid.records import queue, runs
from pellucid.records.audit import AuditTrail, Subject
from pellucid.records.results import Answer, insert_observation, insert_result
from pellucid.records.tables import observation as observations
from pellucid.records.tables import scan_result
from pellucid.records.types import Action, ClaimedTask, Task


def complete(
    connection: Connection, trail: AuditTrail, task: ClaimedTask, observation: Observation, answer: Answer
) -> None:
    """Record a task's answer.

    Raises:
        LeaseLost: another worker has the task.
        RunUnknown: the observation's run was never started.
        ValueUnrecordable: a number isn't finite.
    """
    queue.finish(connection, task)
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
    *,
    code: str,
    message: str,
    observation: Observation | None,
) -> None:
    """Record that a task failed; the message may name files and stays out of the audit trail.

    Raises:
        LeaseLost: another worker has the task.
        RunUnknown: the observation's run was never started.
    """
    queue.finish(connection, task, code=code, message=message)
    rows = []
    run_id = task.run
    if observation is not None:
        runs.require(connection, observation.run)
        run_id = observation.run
        rows = [(observations, insert_observation(connection, task, observation))]
    details = {"task": task.key, "attempt": task.attempts, "code": code}
    details["specimen"] = trail.specimen(connection, task.specimen).id
    trail.append(connection, Action.PREDICT_FAIL, _subject(task), rows=rows, details=details, run_id=run_id)


def give_up(connection: Connection, trail: AuditTrail, tasks: Sequence[Task]) -> None:
    """Record tasks whose worker died at every attempt."""
    for task in tasks:
        details = {"task": task.key, "attempt": task.attempts, "code": task.error_code}
        details["specimen"] = trail.specimen(connection, task.specimen).id
        trail.append(connection, Action.PREDICT_FAIL, _subject(task), details=details, run_id=task.run)


def retry(
    connection: Connection,
    trail: AuditTrail,
    *,
    keys: Collection[str] | None,
    of_run: str | None,
    run_id: str | None,
) -> int:
    """Queue failed tasks again; their number.

    Raises:
        RunUnknown: the run that asks was never started.
    """
    if run_id is not None:
        runs.require(connection, run_id)
    again = sorted(queue.retry_failed(connection, keys=keys, of_run=of_run, run_id=run_id))
    for key in again:
        trail.append(connection, Action.TASK_RETRY, Subject("task", key), run_id=run_id)
    return len(again)


def _subject(task: ClaimedTask | Task) -> Subject:
    """The scan where its bytes are known, else the task; a key is a digest too."""
    return Subject("task", task.key) if task.scan_digest is None else Subject("scan", task.scan_digest)
