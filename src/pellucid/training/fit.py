"""The loop of every training: steps, and checkpoints between them such that a kill costs minutes."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.core.errors import StorageFull
from pellucid.training.checkpoints import CheckpointFailed, Checkpoints, Interval, Saved, task_folders
from pellucid.training.run import CHECKPOINTS, TrainingRun
from pellucid.training.task import Task

_OVERHEAD = 0.02


def fit(task: Task, run: TrainingRun) -> None:
    """Do every step of a task that its newest verified checkpoint doesn't hold yet.

    A checkpoint is written when the interval is over (Young's, from what the last ones cost), at an epoch's end unless
    that would cost more than a fiftieth of the time, when a signal asks to stop, and after the last step. One that
    fails raises the alarm and lets the training go on.

    Raises:
        TrainingInterrupted: a signal asked to stop; the state is saved.
        TrainingDiverged: a loss is NaN or infinite.
        CheckpointFailed, StorageFull: the run's first task can't be kept; nothing of it was done.
        CheckpointsInvalid, CheckpointForeign: there are checkpoints but none that may be used.
    """
    try:
        keeper = _Keeper(task, run)
        first = keeper.resume()
        keeper.end_epoch_left(first)
        _go_on(task, run, keeper, first)
        if run.keeps_best:
            keeper.take_best()
    finally:
        task.close()


def _go_on(task: Task, run: TrainingRun, keeper: "_Keeper", first: int) -> None:
    for number in range(first, task.n_steps):
        epoch, nth = divmod(number, task.epoch_steps)
        figures = task.step(number)
        run.journal.step(task.name, number, task.n_steps, epoch, figures)
        run.report(task.name, number + 1, task.n_steps)
        ends_epoch = nth == task.epoch_steps - 1
        if ends_epoch:
            keeper.save_before_validation(number + 1)
            keeper.epoch_ended(epoch)
        keeper.stepped(number + 1, ends_epoch=ends_epoch)
    run.journal.task_finished(task.name, task.n_steps)


@dataclass(slots=True)
class _Keeper:
    """Decides when a task is saved, and tells of it."""

    task: Task
    run: TrainingRun
    _checkpoints: Checkpoints = field(init=False)
    _interval: Interval = field(init=False)
    _best: float | None = None
    _score: float | None = None
    _epochs_ended: int = 0
    _validation_s: float = 0.0

    def __post_init__(self) -> None:
        run, policy = self.run, self.run.config.checkpoints
        self._checkpoints = run.checkpoints_of(self.task.name)
        self._interval = Interval(
            least_s=60 * policy.least_minutes,
            most_s=60 * policy.most_minutes,
            failure_s=3600 * policy.failure_hours,
        )

    def resume(self) -> int:
        """Load the newest verified checkpoint; the number of the step to go on with."""
        task, journal = self.task, self.run.journal
        loaded = self._checkpoints.load(task.parts(), force=self.run.force)
        if loaded is None:
            journal.task_started(task.name, task.n_steps, epoch_steps=task.epoch_steps)
            saved = self._checkpoints.rehearse(task.parts())
            self._tell(saved, "rehearsal")
            if self._begins_run() and saved.error is not None:
                raise CheckpointFailed(f"No checkpoint can be written, so nothing is begun: {saved.error}")
            self._require_room(saved.folder)
            return 0
        if loaded.step == 0:
            self._require_room(loaded.folder)
        self._best = loaded.extra.get("best_score")
        self._epochs_ended = loaded.extra.get("epochs_ended", 0)
        journal.resumed(task.name, loaded, task.n_steps, epoch_steps=task.epoch_steps)
        return loaded.step

    def _begins_run(self) -> bool:
        """Whether nothing was learnt before this task, so that refusing it costs nothing."""
        found = self.run.ranks.once(lambda: list(task_folders(self.run.folder / CHECKPOINTS)))
        return found in ([], [self.task.name])

    def _require_room(self, folder: Path | None) -> None:
        """Refuse to begin where the disk has no room for all checkpoints that will stay, as large as that in `folder`.

        A disk that holds two of three would refuse every save from the third on.
        """
        if folder is not None and self._begins_run():
            # beside this one: the others that stay, the best, and twice the size that a save asks for
            times = self.run.config.checkpoints.keep_last + 2
            self.run.ranks.once(lambda: _require_free(folder, times))

    def take_best(self) -> None:
        """Take over the state of the highest score, where there is one."""
        if self._best is not None:
            loaded = self._checkpoints.load(self.task.parts(), force=self.run.force, best=True)
            if loaded is not None:
                self.run.journal.event("best_taken", task=self.task.name, step=loaded.step, score=loaded.score)

    def end_epoch_left(self, step: int) -> None:
        """Do the validation again, of which the loaded checkpoint was written just before."""
        epoch, rest = divmod(step, self.task.epoch_steps)
        if rest == 0 and epoch > self._epochs_ended:
            self.epoch_ended(epoch - 1)
            self.stepped(step, ends_epoch=True)

    def save_before_validation(self, step: int) -> None:
        """Save before a validation that takes long, judged by the last one, as nothing is saved while it goes on."""
        long = self._validation_s * _OVERHEAD >= self._interval.cost_s > 0
        if self.run.ranks.highest(int(self.run.ranks.is_first and long)):
            self._save(step, "validation")

    def epoch_ended(self, epoch: int) -> None:
        """Take the epoch's figures, and its score where it has one."""
        began = time.monotonic()
        figures = dict(self.task.epoch_ended(epoch))
        self._validation_s = time.monotonic() - began
        self.run.journal.epoch(self.task.name, epoch, figures)
        self._score = figures.get("score")
        self._epochs_ended = epoch + 1

    def stepped(self, step: int, *, ends_epoch: bool) -> None:
        """Save where it is time to, after `step` steps; and end here where a signal asked to.

        The ranks agree: a signal reaches one of them first, and only the first rank's clock counts.
        """
        run = self.run
        reason = run.ranks.highest(self._reason(step, ends_epoch=ends_epoch))
        if reason:
            self._save(step, _REASONS[reason])
        self._score = None
        if reason == _SIGNAL and step < self.task.n_steps:
            run.journal.interrupted(self.task.name, step)
            run.stop_now()

    def _reason(self, step: int, *, ends_epoch: bool) -> int:
        if self.run.stop.asked:
            return _SIGNAL
        if step == self.task.n_steps:
            return _LAST
        if not self.run.ranks.is_first:
            return 0
        if self._score is not None and (self._best is None or self._score > self._best) and self.run.keeps_best:
            return _BEST
        now = time.monotonic()
        if ends_epoch and self._interval.since(now) * _OVERHEAD >= self._interval.cost_s:
            return _EPOCH
        return _DUE if self._interval.due(now) else 0

    def _save(self, step: int, reason: str) -> None:
        score = self._score
        best = score if score is not None and (self._best is None or score > self._best) else self._best
        extra = {"best_score": best, "epochs_ended": self._epochs_ended}
        saved = self._checkpoints.save(self.task.parts(), step=step, reason=reason, score=score, extra=extra)
        if saved.error is None:
            self._best = best
        self._tell(saved, reason)

    def _tell(self, saved: Saved, reason: str) -> None:
        now = time.monotonic()
        if saved.error is None:
            self._interval.saved(saved.seconds, now)
        else:
            self._interval.failed(now)
        self.run.journal.checkpoint(self.task.name, saved, interval_s=self._interval.length_s, reason=reason)


def _require_free(folder: Path, times: int) -> None:
    n_bytes = sum(path.stat().st_size for path in folder.iterdir())
    free, needed = shutil.disk_usage(folder).free, times * n_bytes
    if free < needed:
        raise StorageFull(
            f"{folder.parent} has {free / 1e9:.3f} GB free; checkpoints of {n_bytes / 1e9:.3f} GB each will need "
            f"{needed / 1e9:.3f} GB."
        )


_DUE, _EPOCH, _BEST, _LAST, _SIGNAL = 1, 2, 3, 4, 5
_REASONS = {_DUE: "interval", _EPOCH: "epoch", _BEST: "best", _LAST: "last", _SIGNAL: "signal"}
