"""What every long job has durably done, and what would be lost if it were killed now."""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pellucid.cli.finding import scan_name
from pellucid.cli.quantities import span
from pellucid.core.telemetry.logs import redact
from pellucid.engine.checkpoint import CheckpointState, describe
from pellucid.engine.snapshot import (
    STALE_S,
    STATUS_NAME,
    EngineSnapshot,
    EngineState,
    ScanProgress,
    read_snapshot,
)
from pellucid.records import Pause, QueueSummary, Records, RunState, Task, TaskState, is_dead
from pellucid.training.journal.health import TrainingReport, find_trainings, look_at_training

_SUFFIX = ".embeddings"


class Life(StrEnum):
    """Whether a process does its work. One on another machine is known by what it writes and extends only."""

    ALIVE = "alive"
    SILENT = "silent"
    DEAD = "dead"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """The engine that last wrote into the output folder. `age_s` is how long ago."""

    life: Life
    age_s: float
    snapshot: EngineSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run that is recorded as running."""

    run_id: str
    command: str
    started_s: float
    life: Life
    in_hand: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """A scan that is worked on, or was begun.

    `last_step_s` is how long ago its last step was kept, None where none was. `kill` and `power_cut` say what each
    would cost now.
    """

    scan: str
    state: str
    life: Life
    owner: str | None
    tiles_total: int | None
    tiles_kept: int
    last_step_s: float | None
    lease_left_s: float | None
    alone: bool
    kill: str
    power_cut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A scan in quarantine."""

    scan: str
    since_s: float
    code: str | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything that is under way. Without records `problem` says why, and what the folder holds is still told."""

    engine: EngineReport | None
    problem: str | None = None
    runs: tuple[RunReport, ...] = ()
    scans: tuple[ScanReport, ...] = ()
    queue: QueueSummary | None = None
    pauses: tuple[Pause, ...] = ()
    quarantined: tuple[SetAside, ...] = ()
    trainings: tuple[TrainingReport, ...] = ()


def look_at_engine(out: Path, now: float) -> EngineReport | None:
    """The engine that last wrote `status.json`; None where none did."""
    snapshot = read_snapshot(out / STATUS_NAME)
    if snapshot is None:
        return None
    age = snapshot.age_s(now)
    if snapshot.state is EngineState.ENDED:
        life = Life.ENDED
    elif is_dead(snapshot.owner):
        life = Life.DEAD
    else:
        life = Life.ALIVE if age < STALE_S else Life.SILENT
    return EngineReport(life=life, age_s=age, snapshot=snapshot)


def look_at_all(records: Records, out: Path) -> Status:
    """Everything that the records and the output folder tell."""
    now = time.time()
    engine = _as_recorded(records, look_at_engine(out, now))
    # Before the leases: whatever is begun afterwards has its lease already.
    checkpoints = find_checkpoints(out)
    leased = records.tasks(state=TaskState.LEASED)
    return Status(
        engine=engine,
        runs=_runs(records, engine, leased, now),
        scans=_scans(records, engine, leased, _still_there(out, checkpoints), now),
        queue=records.queue_summary(),
        pauses=tuple(records.pauses()),
        quarantined=tuple(_set_aside(records, task, now) for task in records.tasks(state=TaskState.QUARANTINED)),
        trainings=_trainings(out),
    )


def _as_recorded(records: Records, engine: EngineReport | None) -> EngineReport | None:
    """An engine whose run is recorded as over has ended, whatever it last said of itself."""
    if engine is None or engine.life is Life.ALIVE:
        return engine
    over = any(run.run_id == engine.snapshot.run_id and run.state is not RunState.RUNNING for run in records.runs())
    return replace(engine, life=Life.ENDED) if over else engine


def look_without_records(out: Path, problem: str) -> Status:
    """What the folder alone tells; scans without a pseudonym are named by the beginning of their task's key."""
    now = time.time()
    scans = tuple(_scan(key[:12], None, None, state, now, Life.UNKNOWN) for key, state in find_checkpoints(out).items())
    return Status(engine=look_at_engine(out, now), problem=problem, scans=scans, trainings=_trainings(out))


def _trainings(out: Path) -> tuple[TrainingReport, ...]:
    """Those in and directly below the folder; `pellucid train status` also reads every byte of their checkpoints."""
    return tuple(look_at_training(run, hashes=False) for run in find_trainings(out))


def find_checkpoints(out: Path) -> dict[str, CheckpointState]:
    """The embeddings in the making, by the beginning of their task's key."""
    states = {stem: describe(path) for stem, path in sorted(_checkpoint_files(out).items())}
    return {stem: state for stem, state in states.items() if state is not None}


def _checkpoint_files(out: Path) -> dict[str, Path]:
    from pellucid.pipeline.run import CHECKPOINTS

    return {path.name.removesuffix(_SUFFIX): path for path in (out / CHECKPOINTS).glob(f"*{_SUFFIX}")}


def _still_there(out: Path, checkpoints: dict[str, CheckpointState]) -> dict[str, CheckpointState]:
    """Without those whose scan has ended since."""
    left = _checkpoint_files(out)
    return {stem: state for stem, state in checkpoints.items() if stem in left}


def _runs(records: Records, engine: EngineReport | None, leased: list[Task], now: float) -> tuple[RunReport, ...]:
    reports = []
    for run in records.runs():
        if run.state is not RunState.RUNNING:
            continue
        own = [task for task in leased if task.run == run.run_id]
        told = engine is not None and engine.snapshot.run_id == run.run_id
        life = engine.life if engine is not None and told else _life_of(own, now)
        reports.append(
            RunReport(
                run_id=run.run_id,
                command=run.command,
                started_s=_since(run.started_at, now),
                life=life,
                in_hand=len(own),
            )
        )
    return tuple(reports)


def _life_of(tasks: list[Task], now: float) -> Life:
    """What the leases of a run tell of its owner: a task may also have been taken over by another run's process."""
    lives = {_owner_life(task, now) for task in tasks}
    return next((life for life in (Life.ALIVE, Life.SILENT, Life.DEAD) if life in lives), Life.UNKNOWN)


def _owner_life(task: Task, now: float) -> Life:
    if task.owner is None:
        return Life.UNKNOWN
    if is_dead(task.owner):
        return Life.DEAD
    return Life.ALIVE if (task.lease_until or 0.0) > now else Life.SILENT


def _scans(
    records: Records,
    engine: EngineReport | None,
    leased: list[Task],
    checkpoints: dict[str, CheckpointState],
    now: float,
) -> tuple[ScanReport, ...]:
    told = {} if engine is None else {scan.name: scan for scan in engine.snapshot.scans}
    fresh = engine is not None and engine.life is Life.ALIVE
    left = dict(checkpoints)
    reports = []
    for task in leased:
        name = scan_name(records, task)
        stem = next((stem for stem in left if task.key.startswith(stem)), "")
        state = left.pop(stem, None)
        progress = told.get(name) if fresh else None
        reports.append(_scan(name, task, progress, state, now, _owner_life(task, now)))
    for state in left.values():
        name = records.pseudonym("scan", state.header.scan)
        reports.append(_scan(name, None, None, state, now, Life.UNKNOWN))
    return tuple(reports)


def _scan(
    name: str,
    task: Task | None,
    progress: ScanProgress | None,
    state: CheckpointState | None,
    now: float,
    life: Life,
) -> ScanReport:
    kept = progress.tiles_done if progress is not None else 0 if state is None else state.n_done
    total = None if state is None else state.header.n_tiles
    step = None if state is None else max(0.0, now - state.modified)
    return ScanReport(
        scan=name,
        state="begun, nobody works on it" if task is None else progress.stage if progress is not None else "leased",
        life=life,
        owner=None if task is None or task.owner is None else ":".join(task.owner.split(":")[:-1]),
        tiles_total=progress.tiles_total if progress is not None else total,
        tiles_kept=kept,
        last_step_s=None if not kept else progress.durable_s if progress is not None and state is None else step,
        lease_left_s=None if task is None or task.lease_until is None else task.lease_until - now,
        alone=task is not None and task.alone,
        kill=_lost_by_kill(task, progress, kept, life),
        power_cut=_lost_by_power_cut(progress, kept, step),
    )


def _lost_by_kill(task: Task | None, progress: ScanProgress | None, kept: int, life: Life) -> str:
    if task is None or life is Life.DEAD:
        return f"nothing more: {kept} tiles are kept and the next worker goes on from them"
    if progress is not None:
        return f"{progress.tiles_in_flight} tiles in memory; {kept} are kept"
    return f"the tiles in memory, not known from here; {kept} are kept in this folder"


def _lost_by_power_cut(progress: ScanProgress | None, kept: int, step: float | None) -> str:
    if progress is not None:
        lost = progress.tiles_in_flight + progress.tiles_done - progress.tiles_durable
        return f"{lost} tiles: {progress.tiles_durable} are on the disk"
    if not kept:
        return "nothing that is kept"
    return f"what was not yet on the disk of the {kept} tiles, the last written {span(step or 0.0)} ago"


def _set_aside(records: Records, task: Task, now: float) -> SetAside:
    return SetAside(
        scan=scan_name(records, task),
        since_s=_since(task.finished_at or task.enqueued_at, now),
        code=task.error_code,
        cause=redact(task.cause or task.error_message or ""),
    )


def _since(at: str, now: float) -> float:
    return max(0.0, now - datetime.fromisoformat(at).timestamp())
