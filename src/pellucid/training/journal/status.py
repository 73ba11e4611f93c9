"""What a training says of itself each second: `status.json`."""

import json
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pellucid.core.files import storage_errors
from pellucid.core.serial import from_plain, to_plain
from pellucid.training.checkpoints.owner import Owner
from pellucid.training.journal.places import STATUS

STALE_S = 60.0
"""A status is written each second; one older than this comes from a training that hangs or was killed."""
OVERDUE_INTERVALS = 3
"""So many intervals without a checkpoint are an alarm."""


class TrainingState(StrEnum):
    """Where a training stands, as it last said itself; a killed one has no time to say so."""

    RUNNING = "running"
    STALLED = "stalled"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStatus:
    """A training at one moment.

    All times are seconds since 1970, all spans seconds. `task` is the one in hand, "" before the first. `step` counts
    the steps done of `n_steps`; `epoch` is from 0. `began_at` is when this process began or resumed the task.
    `last_step_at` is when a step last ended, None before the first of this process; `last_sign_at` when anything last
    ended that shows the training alive: a step, a validation, a save, a part of a stage. It counts as stalled after
    `stall_limit_s` without such a sign. `stage` names work that isn't made of steps, of which `stage_done` of
    `stage_total` are done; "" where steps are made. `durable_step` and `durable_at` are of the newest checkpoint that
    was written or loaded, or of the task's begin; `lost_steps` and `lost_s` are what a kill would cost. `save_s` is
    what the last save cost. Counters run from the start of this process. `problem` is why something of this record
    itself could not be written, "" where all could.
    """

    state: TrainingState
    at: float
    started: float
    process: Owner
    interval_s: float
    stall_limit_s: float
    last_sign_at: float
    began_at: float
    durable_at: float
    task: str = ""
    step: int = 0
    n_steps: int = 0
    epoch: int = 0
    n_epochs: int = 0
    last_step_at: float | None = None
    loss: float | None = None
    score: float | None = None
    learning_rate: float | None = None
    steps_per_s: float = 0.0
    eta_s: float | None = None
    waiting_share: float = 0.0
    stage: str = ""
    stage_done: int = 0
    stage_total: int = 0
    durable_step: int = 0
    lost_steps: int = 0
    lost_s: float = 0.0
    save_s: float = 0.0
    saves: int = 0
    checkpoint_failures: int = 0
    checkpoints_rejected: int = 0
    slides_failed: int = 0
    synthetic: bool = False
    problem: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it has not said that it ended."""
        return self.state in {TrainingState.RUNNING, TrainingState.STALLED}

    @property
    def is_stalled(self) -> bool:
        """Whether it makes no step."""
        return self.state is TrainingState.STALLED

    def age_s(self, now: float | None = None) -> float:
        """Seconds since it was taken; 0 where the clock went back."""
        return max(0.0, (time.time() if now is None else now) - self.at)


def write_status(run: Path, status: TrainingStatus) -> None:
    """Put the status in the place of the former one, at once for any reader.

    Raises:
        StorageFull: the disk is full; the former file is left.
    """
    write_unsynced(run / STATUS, json.dumps(to_plain(status), allow_nan=False, ensure_ascii=False).encode())


def read_status(run: Path) -> TrainingStatus | None:
    """What the training of a run folder last said; None where there is nothing, or nothing that can be read.

    Raises:
        OSError: the file is there but can't be opened.
    """
    try:
        return from_plain(TrainingStatus, json.loads((run / STATUS).read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError:  # not JSON, not UTF-8, or other fields, such as of an engine's status of the same name
        return None


def write_unsynced(path: Path, data: bytes) -> None:
    """Replace a file without forcing it to the disk: a second later the next one comes, and a slow disk must not wait.

    Raises:
        StorageFull: the disk is full; the former file is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
