"""What is trained, as the loop sees it: steps that depend on nothing but the state and their number."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from pellucid.training.scans import Progress


@runtime_checkable
class Stateful(Protocol):
    """A part of the state that checkpoints hold: a module, an optimiser, or anything with these two methods."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors (or DTensors) and plain values by name, nested at will. Tensors are those in use, not copies."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take over a state as `state_dict` gave it."""
        ...


class Task(Protocol):
    """One stage of a training.

    Its state after step n is a function of its state before, and of n: order, augmentation, dropout and every other
    chance come from generators keyed by (seed, epoch, index). That makes a resumed training the same as one that was
    never disturbed. Every method is collective over the ranks.

    Attributes:
        name: names its folder of checkpoints and its lines in the metrics.
        n_steps: how many steps there are in all.
        epoch_steps: how many of them are an epoch.
    """

    @property
    def name(self) -> str:
        """Names the task."""
        ...

    @property
    def n_steps(self) -> int:
        """How many steps there are."""
        ...

    @property
    def epoch_steps(self) -> int:
        """How many steps an epoch has."""
        ...

    def parts(self) -> Mapping[str, Stateful]:
        """All state there is, by name; the same names on every rank."""
        ...

    def step(self, number: int) -> Mapping[str, float]:
        """Do step `number` (from 0) and return its figures: `loss` at least, the same on every rank.

        Raises:
            TrainingDiverged: the loss is NaN or infinite; the state is as before the step.
        """
        ...

    def epoch_ended(self, epoch: int) -> Mapping[str, float]:
        """Figures of epoch `epoch` (from 0), such as of validation.

        Where there is a `score`, the checkpoint of the highest one is kept.
        """
        ...

    def close(self) -> None:
        """Give back what the steps hold: processes, shared memory, open files."""
        ...


def run_through(task: Task, progress: Progress) -> None:
    """Do every step of a task, without checkpoints or records: for trainings of seconds, such as those of a fold."""
    try:
        for number in range(task.n_steps):
            task.step(number)
            progress(task.name, number + 1, task.n_steps)
    finally:
        task.close()
