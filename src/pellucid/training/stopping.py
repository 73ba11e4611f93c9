"""Stopping when asked: a signal sets a flag, and the training looks at it where its state is whole."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pellucid.training.errors import TrainingInterrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


class StopFlag:
    """Whether a signal asked the training to stop, and which.

    Slurm warns of a time limit or a preemption with the signal that the job names (SIGUSR2 in deploy/slurm), a person
    or a service manager with SIGINT or SIGTERM.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def asked(self) -> bool:
        """Whether to stop at the next place where nothing is lost."""
        return self.signal is not None

    @property
    def to_be_requeued(self) -> bool:
        """Whether it was a scheduler's warning, which wants the job to go on later."""
        return self.signal is signal.SIGUSR2

    def heard_elsewhere(self) -> None:
        """Another rank got the signal."""
        self.signal = signal.SIGTERM

    def check(self) -> None:
        """End here, where no step is under way, if asked to.

        Raises:
            TrainingInterrupted: asked to.
        """
        if self.signal is not None:
            raise TrainingInterrupted(f"The training was stopped by {self.signal.name}.", signal=int(self.signal))


@contextmanager
def stop_on_signals(flag: StopFlag) -> Iterator[None]:
    """Within the block SIGINT, SIGTERM and SIGUSR2 set the flag; a second SIGINT interrupts at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if flag.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.signal = signal.Signals(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
