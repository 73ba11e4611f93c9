"""Whether a training is well, told by its run folder alone: what it says of itself, and what is really on the disk.

A checkpoint counts as kept only after it was verified here, whatever the training said of it.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pellucid.training.checkpoints.reading import Verdict, task_folders, verdicts
from pellucid.training.journal.errors import TrainingMissing
from pellucid.training.journal.lines import read_lines
from pellucid.training.journal.places import CHECKPOINTS, EVENTS, FAILURES, STATUS
from pellucid.training.journal.status import (
    OVERDUE_INTERVALS,
    STALE_S,
    TrainingState,
    TrainingStatus,
    read_status,
)


class Life(StrEnum):
    """Whether a training goes on. A silent one hangs as a whole or lost its machine; a dead one's process ended."""

    RUNNING = "running"
    STALLED = "stalled"
    SILENT = "silent"
    DEAD = "dead"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def may_be_alive(self) -> bool:
        """Whether its process may still hold work that a kill would lose."""
        return self in {Life.RUNNING, Life.STALLED, Life.SILENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """What is kept of one task.

    `kept` is the newest whole checkpoint's step, None without one; `age_s` is since it was written. `n_steps` is None
    where the record doesn't tell it. `damaged` are names and faults of newer checkpoints that are not whole.
    """

    task: str
    in_hand: bool
    kept: int | None
    age_s: float | None
    n_bytes: int
    n_steps: int | None
    damaged: tuple[tuple[str, str], ...]

    @property
    def is_done(self) -> bool:
        """Whether the checkpoint of the last step is kept."""
        return self.kept is not None and self.kept == self.n_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """A training as its run folder tells it.

    `run` is the folder's name, `age_s` how long ago the training last said something. `lost_steps` and `lost_s` are
    what a kill now would cost of the task in hand or, where it isn't alive, what its end did cost. `by_hashes` tells
    whether every byte was verified, or only sizes. `rejected` are the checkpoints that loads passed over, with task and
    fault. `slides_failed` counts by error code. `alarms` are sentences for a person; without any, all is well.
    """

    run: str
    life: Life
    status: TrainingStatus | None
    age_s: float | None
    tasks: tuple[TaskReport, ...]
    lost_steps: int
    lost_s: float
    overdue: bool
    by_hashes: bool
    failed_saves: int
    rejected: tuple[tuple[str, str, str], ...]
    slides_failed: dict[str, int]
    alarms: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Events:
    """What the events of all processes of a run add up to."""

    n_steps: dict[str, int] = field(default_factory=dict)
    failed_saves: int = 0
    last_failure: str | None = None
    rejected: list[tuple[str, str, str]] = field(default_factory=list)
    failed: str = ""


def look_at_training(run: Path, *, hashes: bool = True, now: float | None = None) -> TrainingReport:
    """Judge a training by its run folder.

    Args:
        run: the run folder.
        hashes: whether to read every byte of the newest checkpoints; else only their sizes are compared.
        now: in seconds since 1970; the present where omitted.

    Raises:
        TrainingMissing: the folder holds no training.
        OSError: it can't be read.
    """
    if not is_training(run):
        raise TrainingMissing(f"{run} holds no record of a training.")
    now = time.time() if now is None else now
    status, events = read_status(run), _add_up(run)
    life = _life_of(status, now)
    tasks = tuple(_tasks(run, status, events, hashes=hashes, now=now))
    lost_steps, lost_s = _lost(status, tasks, life, now)
    overdue = _is_overdue(status, life, lost_s)
    failed = dict(Counter(str(line.get("code", "unknown")) for line in read_lines(run / FAILURES)))
    return TrainingReport(
        run=run.resolve().name,
        life=life,
        status=status,
        age_s=None if status is None else status.age_s(now),
        tasks=tasks,
        lost_steps=lost_steps,
        lost_s=lost_s,
        overdue=overdue,
        by_hashes=hashes,
        failed_saves=events.failed_saves,
        rejected=tuple(events.rejected),
        slides_failed=failed,
        alarms=tuple(_alarms(status, events, life, tasks, lost_steps=lost_steps, overdue=overdue, now=now)),
    )


def is_training(folder: Path) -> bool:
    """Whether a folder is the run folder of a training; an engine's output folder isn't, though it has a status too."""
    return read_status(folder) is not None or (folder / EVENTS).is_file()


def find_trainings(out: Path) -> list[Path]:
    """The run folders of trainings that are this folder or directly in it, by name."""
    if not out.is_dir():
        return []
    folders = [out, *sorted(path for path in out.iterdir() if path.is_dir())]
    return [path for path in folders if _is_readable_training(path)]


def _is_readable_training(folder: Path) -> bool:
    try:
        return (folder / STATUS).is_file() and is_training(folder)
    except OSError:
        return False


def _add_up(run: Path) -> _Events:
    events = _Events()
    for line in read_lines(run / EVENTS):
        name, task, step = line.get("event"), str(line.get("task", "")), line.get("step")
        if name in {"task_started", "resumed"} and isinstance(line.get("n_steps"), int):
            events.n_steps[task] = line["n_steps"]
        elif name == "checkpoint":
            events.last_failure = None
        elif name == "checkpoint_failed":
            events.failed_saves += 1
            events.last_failure = f"step {step} of {task}: {line.get('error', '')}"
        elif name == "checkpoint_rejected":
            events.rejected.append((task, str(line.get("checkpoint", "")), str(line.get("why", ""))))
        elif name == "failed":
            events.failed = f"{line.get('code', '')} {line.get('message', '')}".strip()
    return events


def _life_of(status: TrainingStatus | None, now: float) -> Life:
    if status is None:
        return Life.SILENT
    if not status.is_running:
        return Life(status.state.value)
    if status.process.is_dead():
        return Life.DEAD
    if status.age_s(now) > STALE_S:
        return Life.SILENT
    return Life.STALLED if status.state is TrainingState.STALLED else Life.RUNNING


def _tasks(
    run: Path, status: TrainingStatus | None, events: _Events, *, hashes: bool, now: float
) -> Iterator[TaskReport]:
    folders = task_folders(run / CHECKPOINTS)
    in_hand = "" if status is None else status.task
    # in the order in which they were begun; one without a record comes last
    for task in dict.fromkeys([*events.n_steps, *([in_hand] if in_hand else []), *folders]):
        kept, damaged = _newest(folders[task], hashes=hashes) if task in folders else (None, ())
        created = None if kept is None else kept.created
        yield TaskReport(
            task=task,
            in_hand=task == in_hand,
            kept=None if kept is None else kept.step,
            age_s=None if created is None else max(0.0, now - created.timestamp()),
            n_bytes=0 if kept is None or kept.manifest is None else kept.manifest.n_bytes,
            n_steps=events.n_steps.get(task),
            damaged=damaged,
        )


def _newest(folder: Path, *, hashes: bool) -> tuple[Verdict | None, tuple[tuple[str, str], ...]]:
    damaged: list[tuple[str, str]] = []
    for verdict in verdicts(folder, hashes=hashes):
        if verdict.is_valid:
            return verdict, tuple(damaged)
        # a checkpoint that was pruned while it was looked at isn't damaged
        if verdict.folder.exists():
            damaged.append((verdict.folder.name, verdict.problem or ""))
    return None, tuple(damaged)


def _lost(status: TrainingStatus | None, tasks: tuple[TaskReport, ...], life: Life, now: float) -> tuple[int, float]:
    """Steps and seconds of the task in hand that no whole checkpoint holds."""
    mine = next((task for task in tasks if task.in_hand), None)
    if status is None or mine is None or life is Life.FINISHED:
        return 0, 0.0
    steps = max(0, status.step - (mine.kept or 0))
    if not steps and (mine.is_done or not life.may_be_alive):
        return 0, 0.0
    kept_at = 0.0 if mine.age_s is None else now - mine.age_s
    # the time before this process began isn't lost by its end, unless what it began from is gone since
    until = now if life.may_be_alive else status.last_sign_at
    return steps, max(0.0, until - max(kept_at, status.began_at))


def _is_overdue(status: TrainingStatus | None, life: Life, lost_s: float) -> bool:
    alive = life in {Life.RUNNING, Life.STALLED, Life.SILENT}
    return status is not None and alive and lost_s > OVERDUE_INTERVALS * status.interval_s


def _alarms(
    status: TrainingStatus | None,
    events: _Events,
    life: Life,
    tasks: tuple[TaskReport, ...],
    *,
    lost_steps: int,
    overdue: bool,
    now: float,
) -> Iterator[str]:
    yield from _alarm_of_life(status, events, life, now)
    if overdue:
        yield f"No checkpoint was kept for {OVERDUE_INTERVALS} intervals: see the disk, and the failed saves."
    for task in tasks:
        if task.damaged:
            names = "; ".join(f"{name}: {why}" for name, why in task.damaged)
            instead = "nothing of it is kept" if task.kept is None else f"step {task.kept} is the newest whole one"
            yield f"Damaged checkpoints of {task.task} ({names}); {instead}."
        elif task.kept is None and task.in_hand and lost_steps and not life.may_be_alive and life is not Life.FINISHED:
            yield f"No checkpoint of {task.task} was ever kept: it begins anew."
    if events.last_failure is not None and life is not Life.FINISHED:
        yield f"The last save failed, {events.last_failure}"
    if status is not None and status.problem:
        yield f"The record is incomplete: {status.problem}."


def _alarm_of_life(status: TrainingStatus | None, events: _Events, life: Life, now: float) -> Iterator[str]:
    if status is None:
        yield "Its status can't be read, so whether it lives isn't known."
    elif life is Life.DEAD:
        yield "Its process is gone without a word: it was killed. The same command goes on from the newest checkpoint."
    elif life is Life.SILENT:
        yield f"It has said nothing for {status.age_s(now):.0f} s: it hangs, or {status.process.host} is gone."
    elif life is Life.STALLED:
        yield f"It is stalled: nothing has ended for {now - status.last_sign_at:.0f} s."
    elif life is Life.FAILED:
        yield f"It failed: {events.failed or 'why was not recorded'}"
