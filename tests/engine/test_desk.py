"""Patience with a ledger that fails, and none with one that hangs."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.engine.desk import Desk
from pellucid.engine.ends import LeaseGone


def scene(play: Callable[[Desk], Awaitable[None]], *, patience_s: float = 60.0) -> list[str | None]:
    told: list[str | None] = []
    desk = Desk((StorageFull,), patience_s, lambda because: told.append(None if because is None else because.code))

    async def perform() -> None:
        try:
            await play(desk)
        finally:
            desk.close()

    asyncio.run(perform())
    return told


def full() -> None:
    raise StorageFull("No space is left.")


def failing(*kinds: type[PellucidError]) -> Callable[[], None]:
    """A call that raises these in turn, and then gets through."""
    left = list(kinds)

    def call() -> None:
        if left:
            raise left.pop(0)("It can't be done.")

    return call


def test_each_waits_for_itself() -> None:
    """A call that gets through says nothing of the place that another waits for."""

    async def play(desk: Desk) -> None:
        waiting = asyncio.create_task(desk.ask(failing(StorageFull, StorageFull)))
        while desk.because is None:
            await asyncio.sleep(0.01)
        await desk.ask(lambda: None)
        assert desk.because is not None
        await waiting
        assert desk.because is None

    assert scene(play) == ["PEL-CORE-001", None]


def test_patience_is_not_renewed_by_others() -> None:
    async def play(desk: Desk) -> None:
        async def others() -> None:
            while True:
                await desk.ask(lambda: None)
                await asyncio.sleep(0.1)

        busy = asyncio.create_task(others())
        with pytest.raises(StorageFull):
            await asyncio.wait_for(desk.ask(full), 10)
        busy.cancel()

    assert scene(play, patience_s=1.0) == ["PEL-CORE-001"]


def test_another_error_ends_the_wait() -> None:
    async def play(desk: Desk) -> None:
        with pytest.raises(LeaseGone):
            await desk.ask(failing(StorageFull, LeaseGone))
        assert desk.because is None

    assert scene(play) == ["PEL-CORE-001", None]


def test_once_hurried_it_waits_for_nothing() -> None:
    async def play(desk: Desk) -> None:
        waiting = asyncio.create_task(desk.ask(full))
        await asyncio.sleep(0.1)
        desk.hurry(0.0)
        begun = time.monotonic()
        with pytest.raises(StorageFull):
            await waiting
        assert time.monotonic() - begun < 5

    scene(play)


def test_a_call_that_hangs_for_ever_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, threading
from pellucid.engine.desk import Desk
async def main():
    desk = Desk((), 1.0, print)
    try:
        await asyncio.wait_for(desk.ask(threading.Event().wait), 0.2)
    except TimeoutError:
        print("left behind")
    desk.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "left behind\n"
    assert not done.stderr
