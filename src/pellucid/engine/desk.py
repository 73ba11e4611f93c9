"""The one thread in which the ledger is asked, and the patience with which it is asked again."""

import asyncio
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import ParamSpec, TypeVar

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.engine.aside import Aside

P = ParamSpec("P")
R = TypeVar("R")
_RETRY_S = 1.0


class Desk:
    """Asks the ledger, one call at a time, off the event loop.

    Where the place that records or results go to is full or gone, whoever asked waits and the same call is made again:
    nothing that was computed is lost. Each waits for itself: that one call gets through says nothing of a place that
    another writes to.

    Args:
        waits_for: the errors that are waited out.
        patience_s: how long, before the error is raised after all.
        told: is told why the engine pauses, and None when nobody waits any more.
    """

    def __init__(
        self,
        waits_for: tuple[type[PellucidError], ...],
        patience_s: float,
        told: Callable[[PellucidError | None], None],
    ) -> None:
        self._waits_for, self._patience_s, self._told = waits_for, patience_s, told
        self._aside = Aside("ledger")
        self._waiting: dict[Hashable, tuple[float, PellucidError]] = {}
        self._said: PellucidError | None = None
        self._paused_at = 0.0
        self._until: float | None = None

    @property
    def because(self) -> PellucidError | None:
        """Why the engine waits, by whoever has waited longest; None where nobody does."""
        return next((error for _, error in self._waiting.values()), None)

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a call, again and again while its place is full or gone.

        Raises:
            PellucidError: any other error; or that one, after the patience is at its end.
        """
        who = object()
        while True:
            try:
                result = await self._aside.ask(partial(call, *args, **kwargs))
            except self._waits_for as error:
                self.wait_out(who, error)
                await asyncio.sleep(_RETRY_S)
            except PellucidError:
                self.go_on(who)
                raise
            else:
                self.go_on(who)
                return result

    def wait_out(self, who: Hashable, error: PellucidError) -> None:
        """Somebody waits because of an error.

        Raises:
            PellucidError: the error, where the patience is at its end.
        """
        now = time.monotonic()
        since, _ = self._waiting.get(who, (now, error))
        self._waiting[who] = (since, error)
        self._say()
        hurried = self._until is not None and now >= self._until
        if hurried or now - since > self._patience_s:
            raise error

    def go_on(self, who: Hashable) -> None:
        """Whoever waited got through."""
        if self._waiting.pop(who, None) is not None:
            self._say()

    def hurry(self, patience_s: float) -> None:
        """The engine ends: nothing is waited for longer than this from now on."""
        self._until = time.monotonic() + patience_s

    def close(self) -> None:
        """Let the thread end after the call that is under way, if that ever ends."""
        self._aside.close()

    def _say(self) -> None:
        """Tell of a pause when it begins, changes its reason or ends."""
        because, said = self.because, self._said
        if because is None and said is not None:
            logs.get_logger("engine").info("goes on", paused_s=round(time.monotonic() - self._paused_at, 1))
            self._said = None
            self._told(None)
        elif because is not None and (said is None or said.code != because.code):
            if said is None:
                self._paused_at = time.monotonic()
            logs.get_logger("engine").error("paused", code=because.code, reason=because.message)
            self._said = because
            self._told(because)
