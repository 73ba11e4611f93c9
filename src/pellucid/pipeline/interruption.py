"""Stopping when asked: the first signal drains, the second stops at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the run to stop: `asked` drains what is in hand, `now` gives it back at once.

    While `patient` is set, whoever works looks at `now` often enough that a second signal need not interrupt it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.now = False
        self.patient = False


@contextmanager
def stop_on_signals(announce: Callable[[], None]) -> Iterator[StopRequest]:
    """Within the block, SIGINT or SIGTERM asks once to stop; a second one stops now.

    Args:
        announce: called at the first signal, to tell a person what happens next.
    """
    request = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if request.asked:
            request.now = True
            if not request.patient:
                raise KeyboardInterrupt
            return
        request.asked = True
        announce()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
