"""Calls that may block for long, or for ever, made beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")


class Aside:
    """One thread that makes calls one after the other.

    Unlike those of an executor, the thread doesn't hold up the end of the program: a call that hangs in a share that
    went away is left behind.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[tuple[Future[Any], Context, Callable[[], Any]] | None] = SimpleQueue()
        self._started = False

    def ask(self, call: Callable[[], R]) -> "asyncio.Future[R]":
        """Have a call made after those asked for before; the future gives what it returns or raises."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        future: Future[R] = Future()
        self._calls.put((future, copy_context(), call))
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the thread end after the calls asked for; nothing waits for that."""
        self._calls.put(None)

    def _work(self) -> None:
        while (asked := self._calls.get()) is not None:
            future, context, call = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(context.run(call))
            except BaseException as error:  # noqa: BLE001 - the thread's boundary: whoever asked gets it
                future.set_exception(error)
            del asked, future, context, call
