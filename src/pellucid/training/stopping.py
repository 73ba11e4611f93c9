"""Stopping when asked: a signal sets a flag, and the training looks at it where its state is whole."""

import signal
from collections.abc import Iterator, Sequence
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

    def agree(self, signals: Sequence[signal.Signals | None]) -> None:
        """Take over the first signal that any rank got, so that all end with the same code."""
        self.signal = next((one for one in signals if one is not None), None)

    def check(self) -> None:
        """End here, where no step is under way, if asked to.

        Raises:
            TrainingInterrupted: asked to.
        """
        if self.signal is not None:
            raise TrainingInterrupted(f"The training was stopped by {self.signal.name}.", signal=int(self.signal))


@contextmanager
def stop_on_signals(flag: StopFlag) -> Iterator[None]:
    """Within the block SIGINT, SIGTERM and SIGUSR2 set the flag; the first counts, a later SIGINT ends at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if flag.signal is None:
            # a scheduler's warning is followed by SIGTERM: it stays a warning, after which the job goes on later
            flag.signal = signal.Signals(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
