"""Showing something again and again until Ctrl-C."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from pellucid.core.errors import PellucidError

EVERY_S = 2.0


def keep_showing(draw: Callable[[], RenderableType], *, every_s: float = EVERY_S) -> None:
    """Draw in place on a terminal, one below the other elsewhere; an error is shown, and the next look may succeed."""
    console = Console(highlight=False)
    with _until_nobody_looks():
        if not console.is_terminal:
            while True:
                console.print(_drawn(draw))
                sys.stdout.flush()
                time.sleep(every_s)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                live.update(_drawn(draw), refresh=True)
                time.sleep(every_s)


def keep_saying(say: Callable[[], str], *, every_s: float = EVERY_S) -> None:
    """Write one line each time, such as JSON for another program."""
    with _until_nobody_looks():
        while True:
            typer.echo(say())
            sys.stdout.flush()
            time.sleep(every_s)


@contextlib.contextmanager
def _until_nobody_looks() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Whoever read it has ended; what is still buffered has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _drawn(draw: Callable[[], RenderableType]) -> RenderableType:
    try:
        return draw()
    except PellucidError as error:
        return Group(Text(f"{error.code}  {error.message}", style="red"), Text(f"  -> {error.remedy}"))
