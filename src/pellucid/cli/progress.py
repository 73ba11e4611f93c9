"""A run as a person at a terminal sees it: progress with rates and the time that is left."""

import sys
import time
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_EVERY = 10


class RunProgress:
    """Draws bars on a terminal; elsewhere writes a line now and then, so that logs stay readable."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._live,
        )
        self._hash: TaskID | None = None
        self._scans: TaskID | None = None
        self._tiles: TaskID | None = None
        self._since = time.monotonic()
        self._total = self._done = self._tile_count = self._last = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def hashed(self, done: int, total: int) -> None:
        """`done` of `total` files were hashed."""
        if self._hash is None:
            self._hash = self._progress.add_task("identify", total=total, note="")
        self._progress.update(self._hash, completed=done)

    def queued(self, waiting: int, known: int) -> None:
        """`waiting` scans are to be done; `known` were finished before."""
        note = f"{known} finished before" if known else ""
        self._total, self._since = waiting, time.monotonic()
        self._scans = self._progress.add_task("scans", total=waiting, note=note)
        self._tiles = self._progress.add_task("tiles", total=None, note="")
        if not self._live:
            typer.echo(f"{waiting} scans to do{', ' + note if note else ''}", err=True)

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""
        if self._tiles is not None:
            self._progress.reset(self._tiles, total=None, description=scan)
        self._last = 0

    def tiles(self, done: int, total: int) -> None:
        """`done` of the scan's `total` tiles are encoded."""
        self._tile_count += done - self._last
        self._last = done
        if self._tiles is not None:
            self._progress.update(self._tiles, completed=done, total=total)

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        """The scan ended with an answer, or with an error code."""
        self._done += 1
        answer = f"{probability:.2f}" if probability is not None else f"failed {code}"
        if self._scans is not None:
            self._progress.update(self._scans, completed=self._done, note=self._pace())
        if code is not None and self._live:
            self._progress.console.print(f"{scan}  {answer}", style="yellow", highlight=False)
        elif not self._live and (self._done % _EVERY == 0 or self._done == self._total or code is not None):
            typer.echo(f"{self._done}/{self._total}  {scan}  {answer}  {self._pace()}", err=True)

    def say(self, text: str) -> None:
        """A line for the person, above the bars."""
        self._progress.console.print(text, style="bold", highlight=False)

    def _pace(self) -> str:
        seconds = max(time.monotonic() - self._since, 1e-3)
        left = max(0, self._total - self._done) * seconds / self._done
        return (
            f"{self._done / seconds * 3600:.0f} scans/h, {self._tile_count / seconds:.0f} tiles/s, "
            f"about {_span(left)} left"
        )


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
