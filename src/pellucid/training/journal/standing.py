"""Where a training stands: everything that its status is made of, kept up to date by the journal."""

import math
from collections.abc import Mapping

from pellucid.training.checkpoints.owner import Owner
from pellucid.training.journal.clock import Moment
from pellucid.training.journal.pace import Pace
from pellucid.training.journal.status import TrainingState, TrainingStatus

_STALL_STEPS = 5
LEARNING_RATES = ("learning_rate", "lr")
"""Names under which a step's figures may hold the learning rate."""
WAITS = "waited_s"
"""The figure of a step that says how many of its seconds it waited for tiles."""


class Standing:
    """The state behind the status. Not safe for threads: the journal's lock is around every call.

    Args:
        process: who trains.
        now: when it started.
        stall_s: without a sign of life for so long, or for five steps if that is longer, it counts as stalled.
        interval_s: time between checkpoints, until the first save tells another.
        synthetic: whether the slides are synthetic.
    """

    def __init__(self, process: Owner, now: Moment, *, stall_s: float, interval_s: float, synthetic: bool) -> None:
        self.state = TrainingState.RUNNING
        self.task, self.step, self.n_steps = "", 0, 0
        self.interval_s = interval_s
        self.checkpoint_failures = self.checkpoints_rejected = self.slides_failed = self.saves = 0
        self._epoch = self._epoch_steps = 0
        self._process, self._started, self._stall_s, self._synthetic = process, now, stall_s, synthetic
        self._pace = Pace()
        self._began = self._durable = self._sign = now
        self._last_step: Moment | None = None
        self._durable_step = 0
        self._save_s = 0.0
        self._loss: float | None = None
        self._score: float | None = None
        self._rate: float | None = None
        self._stage, self._stage_done, self._stage_total = "", 0, 0

    def begin(self, task: str, *, step: int, n_steps: int, epoch_steps: int | None, now: Moment) -> None:
        """A task is begun, or resumed after `step` steps; up to there nothing can be lost."""
        self.task, self.step, self.n_steps = task, step, n_steps
        self._epoch_steps = epoch_steps or 0
        self._epoch = step // self._epoch_steps if self._epoch_steps else 0
        self._pace = Pace()
        self._began = self._durable = now
        self._durable_step = step
        self._loss = self._score = self._rate = None
        self._stage = ""
        self.lives(now)

    def made_step(self, number: int, epoch: int, figures: Mapping[str, float], now: Moment) -> None:
        """Step `number` (from 0) ended."""
        self._pace.step(now.ticks - self._sign.ticks, figures.get(WAITS, 0.0))
        self.step, self._epoch = number + 1, epoch
        self._loss = _finite(figures.get("loss", self._loss))
        self._rate = _finite(next((figures[name] for name in LEARNING_RATES if name in figures), self._rate))
        self._stage = ""
        self._last_step = now
        self.lives(now)

    def ended_epoch(self, figures: Mapping[str, float], now: Moment) -> None:
        """What follows the last step of an epoch ended too."""
        self._pace.epoch(now.ticks - self._sign.ticks)
        self._score = _finite(figures.get("score", self._score))
        self._stage = ""
        self.lives(now)

    def saved(self, step: int, seconds: float, now: Moment) -> None:
        """A checkpoint after `step` steps is on the disk."""
        self._pace.save(seconds)
        self.saves += 1
        self._save_s = seconds
        self._durable, self._durable_step = now, step
        self.lives(now)

    def not_saved(self, now: Moment) -> None:
        """A checkpoint could not be written; training goes on."""
        self.checkpoint_failures += 1
        self.lives(now)

    def in_stage(self, stage: str, done: int, total: int, now: Moment) -> None:
        """So much of work that isn't made of steps is done. The task in hand is no stage: its steps tell of it."""
        if stage == self.task:
            return
        self._stage, self._stage_done, self._stage_total = stage, done, total
        self.lives(now)

    def end(self, state: TrainingState, now: Moment) -> None:
        """The training ended in this state; a later end doesn't count."""
        if self.is_running:
            self.state = state
            self._sign = now

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.state in {TrainingState.RUNNING, TrainingState.STALLED}

    @property
    def stall_limit_s(self) -> float:
        """How long it may be without a sign of life."""
        return max(self._stall_s, _STALL_STEPS * (self._pace.step_s or 0.0))

    def idle_s(self, now: Moment) -> float:
        """Seconds since the last sign of life."""
        return now.ticks - self._sign.ticks

    def status(self, now: Moment, *, problem: str = "") -> TrainingStatus:
        """All of it at one moment."""
        step_s = self._pace.step_s
        n_epochs = -(-self.n_steps // self._epoch_steps) if self._epoch_steps else 0
        epochs_left = n_epochs - self.step // self._epoch_steps if self._epoch_steps else 0
        # a task whose last step is kept has nothing to lose, however long the stage after it takes
        durable = now if self.step == self._durable_step == self.n_steps else self._durable
        return TrainingStatus(
            state=self.state,
            at=now.at,
            started=self._started.at,
            process=self._process,
            interval_s=self.interval_s,
            stall_limit_s=self.stall_limit_s,
            last_sign_at=self._sign.at,
            began_at=self._began.at,
            durable_at=durable.at,
            task=self.task,
            step=self.step,
            n_steps=self.n_steps,
            epoch=self._epoch,
            n_epochs=n_epochs,
            last_step_at=None if self._last_step is None else self._last_step.at,
            loss=self._loss,
            score=self._score,
            learning_rate=self._rate,
            steps_per_s=1.0 / step_s if step_s else 0.0,
            eta_s=self._pace.left_s(self.n_steps - self.step, epochs_left, self.interval_s),
            waiting_share=self._pace.waiting_share,
            stage=self._stage,
            stage_done=self._stage_done,
            stage_total=self._stage_total,
            durable_step=self._durable_step,
            lost_steps=self.step - self._durable_step,
            lost_s=now.ticks - durable.ticks if self.is_running else 0.0,
            save_s=self._save_s,
            saves=self.saves,
            checkpoint_failures=self.checkpoint_failures,
            checkpoints_rejected=self.checkpoints_rejected,
            slides_failed=self.slides_failed,
            synthetic=self._synthetic,
            problem=problem,
        )

    def lives(self, now: Moment) -> None:
        """Something ended that shows the training alive."""
        self._sign = now
        if self.state is TrainingState.STALLED:
            self.state = TrainingState.RUNNING


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
