"""Stopping when asked: the first signal finishes the scan in hand, the second stops at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the run to stop after the scan in hand."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_on_signals(announce: Callable[[], None]) -> Iterator[StopRequest]:
    """Within the block, SIGINT or SIGTERM asks once to stop; a second one raises KeyboardInterrupt.

    Args:
        announce: called at the first signal, to tell a person what happens next.
    """
    request = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        announce()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
