"""What runs beside the engine's main loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Coroutines that are under way.

    Args:
        fail: told of the exception that one ended with.
        wake: told whenever one ended.
    """

    def __init__(self, fail: Callable[[BaseException], None], wake: Callable[[], None]) -> None:
        self._fail, self._wake = fail, wake
        self._tasks: set[asyncio.Task[None]] = set()
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        """Start one."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        if name is not None:
            self._names.add(name)
        task.add_done_callback(lambda ended: self._reap(ended, name))

    def once(self, name: str, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start one, unless the last of that name is still under way: slow calls must not pile up."""
        if name not in self._names:
            self.spawn(make(), name=name)

    def runs(self, name: str) -> bool:
        """Whether one of that name is under way."""
        return name in self._names

    async def settle(self, patience_s: float) -> None:
        """Wait for all of them; what is still under way after the patience is cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)

    def cancel(self) -> None:
        """Cancel all of them."""
        for task in self._tasks:
            task.cancel()

    def _reap(self, task: "asyncio.Task[None]", name: str | None) -> None:
        self._tasks.discard(task)
        if name is not None:
            self._names.discard(name)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)
        self._wake()
