"""The journal of a training: what happened, how it goes, how long it will take, and an alarm where nothing goes on."""

import os
import socket
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from pellucid.core.errors import PellucidError
from pellucid.core.serial import to_plain
from pellucid.core.telemetry.logs import get_logger, redact
from pellucid.training.checkpoints.owner import this_process
from pellucid.training.errors import TrainingInterrupted
from pellucid.training.journal.clock import Clock, system_clock
from pellucid.training.journal.outputs import Outputs
from pellucid.training.journal.seams import Loaded, Saved, Telling, Writes
from pellucid.training.journal.standing import Standing
from pellucid.training.journal.status import TrainingState
from pellucid.training.journal.watch import Watch

Method = TypeVar("Method", bound=Callable[..., None])
_FLUSH_S = 60.0
_EPOCH_DRAW_S = 30.0


def _by_first(method: Method) -> Method:
    """Let the method do its work on the first rank, and nothing on the others."""

    @wraps(method)
    def maybe(self: "Journal", *args: Any, **kwargs: Any) -> None:
        if self.writes:
            method(self, *args, **kwargs)

    return cast("Method", maybe)


class Journal:
    """The record of one process that trains; a context manager that says how the training ended.

    Only the first rank writes; on the others every call does nothing, and none of them is collective. Nothing that goes
    wrong with the record after its opening ends the training: the status tells of it (`problem`). An exception that
    leaves the block is recorded as the training's failure, Ctrl-C and an end of the process as its interruption.

    Args:
        run: the run folder, which is made where it is missing.
        ranks: tells whether this process writes.
        synthetic: whether the slides are synthetic, which the curves then say.
        interval_s: time between checkpoints, until `checkpoint` tells another.
        stall_s: so long without a step, or five steps' time if that is longer, is an alarm.
        telling: shows it to a person.
        clock: what time it is.
        watch_s: how often the status is written and a stall looked for; None: only when `look` is called.
        draw_s: how often the curves are drawn at most, besides the ends of epochs, half a minute apart, and the end.

    Raises:
        OSError: the folder can't be written.
    """

    def __init__(
        self,
        run: Path,
        ranks: Writes,
        *,
        synthetic: bool = False,
        interval_s: float = 600.0,
        stall_s: float = 600.0,
        telling: Telling | None = None,
        clock: Clock = system_clock,
        watch_s: float | None = 1.0,
        draw_s: float = 180.0,
    ) -> None:
        self.writes = ranks.is_first
        self._clock, self._telling, self._synthetic, self._draw_s = clock, telling, synthetic, draw_s
        if not self.writes:
            return
        now = clock()
        self._lock, self._showing = threading.Lock(), threading.Lock()
        self._stalled = False
        self._drawn = self._flushed = now.ticks
        self._outputs = Outputs(run)
        self._standing = Standing(
            this_process(0, now.text), now, stall_s=stall_s, interval_s=interval_s, synthetic=synthetic
        )
        self._watch = None if watch_s is None else Watch(self.look, every_s=watch_s)

    def __enter__(self) -> Self:
        if self.writes:
            self._show()
            if self._watch is not None:
                self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.writes:
            return
        if isinstance(error, Exception) and not isinstance(error, TrainingInterrupted):
            self.failed(error)
        else:
            self.interrupted()
        if self._watch is not None:
            self._watch.stop()
        self._outputs.flush()
        self._outputs.draw(synthetic=self._synthetic)
        self._show()
        self._outputs.close()

    @_by_first
    def event(self, name: str, **values: Any) -> None:
        """Record that something happened; on the disk when this returns. `values` never hold anything of a patient."""
        if name == "slide_failed":
            with self._lock:
                self._standing.slides_failed += 1
        self._outputs.event({"at": self._clock().text, "event": name, **values})

    @_by_first
    def started(self, identity: object = None, **values: Any) -> None:
        """A process begins to train in this run folder."""
        known = {} if identity is None else {"identity": to_plain(identity)}
        self.event("started", pid=os.getpid(), host=socket.gethostname(), **known, **values)

    @_by_first
    def task_started(self, task: str, n_steps: int, *, epoch_steps: int | None = None) -> None:
        """A task begins at its first step; whatever was recorded of its steps before is superseded.

        With `epoch_steps` the estimate of the time left also counts the epochs' validations.
        """
        self._begin(task, 0, n_steps, epoch_steps)
        self.event("task_started", task=task, step=0, n_steps=n_steps)

    @_by_first
    def resumed(self, task: str, loaded: Loaded, n_steps: int, *, epoch_steps: int | None = None) -> None:
        """A task goes on from a verified checkpoint; what was recorded of later steps is superseded."""
        self._begin(task, loaded.step, n_steps, epoch_steps)
        self.event("resumed", task=task, step=loaded.step, n_steps=n_steps, checkpoint=loaded.folder.name)
        for checkpoint, why in loaded.rejected:
            self.rejected(task, checkpoint, why)
        if loaded.forced:
            self.event("forced", task=task, checkpoint=loaded.folder.name, differs=list(loaded.forced))

    @_by_first
    def task_finished(self, task: str, n_steps: int) -> None:
        """All steps of a task are done, and its last checkpoint was asked for."""
        with self._lock:
            self._standing.lives(self._clock())
        self.event("task_finished", task=task, step=n_steps)
        self._draw_when_due(self._clock().ticks, min(_EPOCH_DRAW_S, self._draw_s))

    @_by_first
    def step(self, task: str, number: int, n_steps: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Step `number` (from 0) ended; `figures` hold its `loss`, and if known `learning_rate` and `waited_s`."""
        now = self._clock()
        figures = {name: float(value) for name, value in figures.items()}
        with self._lock:
            self._standing.n_steps = n_steps
            self._standing.made_step(number, epoch, figures, now)
        line = {"at": now.text, "task": task, "step": number, "epoch": epoch, **figures}
        self._outputs.figures(line, figures, at=now.at)

    @_by_first
    def epoch(self, task: str, epoch: int, figures: Mapping[str, float]) -> None:
        """Epoch `epoch` (from 0) ended with these figures, such as the validation's `score`."""
        now = self._clock()
        figures = {name: float(value) for name, value in figures.items()}
        with self._lock:
            self._standing.ended_epoch(figures, now)
            number = max(0, self._standing.step - 1)
        if figures:
            line = {"at": now.text, "kind": "epoch", "task": task, "step": number, "epoch": epoch, **figures}
            self._outputs.figures(line, {f"validation/{name}": value for name, value in figures.items()}, at=now.at)
        self._draw_when_due(now.ticks, min(_EPOCH_DRAW_S, self._draw_s))

    @_by_first
    def stage(self, stage: str, done: int, total: int) -> None:
        """So much is done of work that isn't made of steps; it may be given wherever a `Progress` is wanted."""
        with self._lock:
            self._standing.in_stage(stage, done, total, self._clock())

    @_by_first
    def checkpoint(self, task: str, saved: Saved, *, interval_s: float | None = None, reason: str = "") -> None:
        """A checkpoint was saved, or wasn't (`saved.error`); `interval_s` is the time to the next."""
        with self._lock:
            if interval_s is not None:
                self._standing.interval_s = interval_s
            if saved.error is None:
                self._standing.saved(saved.step, saved.seconds, self._clock())
        if saved.error is not None:
            self.checkpoint_failed(task, saved, reason=reason)
            return
        # what comes before the checkpoint is not done again: it must be on the disk like the checkpoint itself
        self._outputs.flush()
        self.event(
            "checkpoint", task=task, step=saved.step, seconds=saved.seconds, n_bytes=saved.n_bytes, reason=reason
        )

    @_by_first
    def checkpoint_failed(self, task: str, saved: Saved, *, reason: str = "") -> None:
        """A checkpoint could not be saved; training goes on, and the alarm is raised."""
        with self._lock:
            self._standing.not_saved(self._clock())
        why = redact(saved.error or "")
        self.event("checkpoint_failed", task=task, step=saved.step, error=why, reason=reason)
        self._say(f"The checkpoint of step {saved.step} could not be saved: {why} Training goes on.")

    @_by_first
    def rejected(self, task: str, checkpoint: str, why: str) -> None:
        """A checkpoint (the name of its folder) doesn't hold what it should, and was passed over."""
        with self._lock:
            self._standing.checkpoints_rejected += 1
        self.event("checkpoint_rejected", task=task, checkpoint=checkpoint, why=redact(why))
        self._say(f"Checkpoint {checkpoint} of {task} was passed over: {why}")

    @_by_first
    def finished(self, **values: Any) -> None:
        """All is done."""
        self._end(TrainingState.FINISHED, values)

    @_by_first
    def interrupted(self, task: str | None = None, step: int | None = None, **values: Any) -> None:
        """It was asked to stop, and did; it goes on later."""
        known = {name: value for name, value in (("task", task), ("step", step)) if value is not None}
        self._end(TrainingState.INTERRUPTED, known | values)

    @_by_first
    def failed(self, error: BaseException) -> None:
        """An error ended it."""
        code = error.code if isinstance(error, PellucidError) else type(error).__name__
        message = error.message if isinstance(error, PellucidError) else str(error)
        self._end(TrainingState.FAILED, {"code": code, "message": redact(message)})

    @_by_first
    def look(self) -> None:
        """What the watch does each second: raise the alarm of a stall, write the status, draw curves that are due."""
        now = self._clock()
        with self._lock:
            idle = self._standing.idle_s(now)
            limit = self._standing.stall_limit_s
            was_stalled, self._stalled = self._stalled, self._standing.state is TrainingState.STALLED
            went_on = was_stalled and self._standing.state is TrainingState.RUNNING
            stalls = self._standing.state is TrainingState.RUNNING and idle > limit
            if stalls:
                self._standing.state = TrainingState.STALLED
                self._stalled = True
            task, step = self._standing.task, self._standing.step
        self._show()
        if went_on:
            self.event("went_on", task=task, step=step)
            self._say("Steps end again.")
        if stalls:
            self.event("stalled", task=task, step=step, idle_s=round(idle, 3), limit_s=round(limit, 3))
            self._say(f"No step has ended for {idle:.0f} s (limit {limit:.0f} s): the training is stalled.")
        if now.ticks - self._flushed >= _FLUSH_S:
            self._flushed = now.ticks
            self._outputs.flush()
        self._draw_when_due(now.ticks, self._draw_s)

    def _begin(self, task: str, step: int, n_steps: int, epoch_steps: int | None) -> None:
        self._outputs.begin(task, step)
        with self._lock:
            self._standing.begin(task, step=step, n_steps=n_steps, epoch_steps=epoch_steps, now=self._clock())

    def _end(self, state: TrainingState, values: Mapping[str, Any]) -> None:
        with self._lock:
            if not self._standing.is_running:
                return
            self._standing.end(state, self._clock())
            task, step = self._standing.task, self._standing.step
        self.event(state.value, **({"task": task, "step": step} | dict(values)))
        self._show()

    def _show(self) -> None:
        # one at a time, or the watch could put a status from before the end over the last one
        with self._showing:
            with self._lock:
                status = self._standing.status(self._clock(), problem=self._outputs.problem)
            self._outputs.status(status)
        if self._telling is not None:
            self._telling.show(status)

    def _say(self, text: str) -> None:
        if self._telling is None:
            get_logger("training").warning(redact(text))
        else:
            self._telling.say(text)

    def _draw_when_due(self, ticks: float, every_s: float) -> None:
        with self._lock:
            due = ticks - self._drawn >= every_s
            if due:
                self._drawn = ticks
        if due:
            self._outputs.draw(synthetic=self._synthetic)
