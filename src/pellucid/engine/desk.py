"""The one thread in which the ledger is asked, and the patience with which it is asked again."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs

P = ParamSpec("P")
R = TypeVar("R")
_RETRY_S = 1.0


class Desk:
    """Asks the ledger, one call at a time, off the event loop.

    Where the place that records or results go to is full or gone, whoever asked waits and the same call is made again:
    nothing that was computed is lost. `because` says why the engine waits, None where it doesn't.

    Args:
        waits_for: the errors that are waited out.
        patience_s: how long, before the error is raised after all.
        told: is told why it pauses, and None when it goes on.
        hurried: whether somebody wants the engine to end now; then nothing is waited for.
    """

    def __init__(
        self,
        waits_for: tuple[type[PellucidError], ...],
        patience_s: float,
        told: Callable[[PellucidError | None], None],
        hurried: Callable[[], bool],
    ) -> None:
        self._waits_for, self._patience_s, self._told, self._hurried = waits_for, patience_s, told, hurried
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._since: float | None = None
        self.because: PellucidError | None = None

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a call, again and again while its place is full or gone.

        Raises:
            PellucidError: any other error; or that one, after the patience is at its end.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                result = await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))
            except self._waits_for as error:
                self.wait_out(error)
                await asyncio.sleep(_RETRY_S)
            else:
                self.go_on()
                return result

    def wait_out(self, error: PellucidError) -> None:
        """Pause for an error.

        Raises:
            PellucidError: the error, where the patience is at its end.
        """
        if self._since is None:
            self._since, self.because = time.monotonic(), error
            logs.get_logger("engine").error("paused", code=error.code, reason=error.message)
            self._told(error)
        if self._hurried() or time.monotonic() - self._since > self._patience_s:
            raise error

    def go_on(self) -> None:
        """The place takes what it is given again."""
        if self._since is not None:
            logs.get_logger("engine").info("goes on", paused_s=round(time.monotonic() - self._since, 1))
            self._since, self.because = None, None
            self._told(None)

    def close(self) -> None:
        """End the thread once the call that is under way has ended."""
        self._thread.shutdown(wait=True)
