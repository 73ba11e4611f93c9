"""A run as a person at a terminal sees it: progress with rates and the time that is left."""

import sys
import time
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pellucid.core.errors import PellucidError
from pellucid.engine.snapshot import EngineSnapshot

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
        self._since = time.monotonic()
        self._total = self._done = self._tile_count = 0

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
        self._total = waiting
        if self._scans is None:
            self._since = time.monotonic()
            self._scans = self._progress.add_task("scans", total=waiting, note="")
        self._progress.update(self._scans, total=waiting)
        if known and not self._done:
            self._progress.update(self._scans, note=f"{known} finished before")

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""

    def tiles(self, number: int) -> None:
        """So many more tiles are embedded."""
        self._tile_count += number

    def paused(self, because: PellucidError | None) -> None:
        """The run waits for its disk or database; None: it goes on."""
        if because is None:
            self.say("Goes on.")
        else:
            self.say(f"Paused, nothing is lost: {because.message} {because.remedy}")

    def snapshot(self, snapshot: EngineSnapshot) -> None:
        """The engine, about once a second."""
        if self._live and self._scans is not None and not self._done:
            done = sum(scan.tiles_done for scan in snapshot.scans)
            self._progress.update(self._scans, note=f"{done} tiles of {len(snapshot.scans)} scans in hand")

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        """The scan ended with an answer, or with an error code."""
        self._done += 1
        answer = f"failed {code}" if code is not None else "embedded" if probability is None else f"{probability:.2f}"
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
        left = max(0, self._total - self._done) * seconds / max(self._done, 1)
        return (
            f"{self._done / seconds * 3600:.0f} scans/h, {self._tile_count / seconds:.0f} tiles/s, "
            f"about {_span(left)} left"
        )


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
