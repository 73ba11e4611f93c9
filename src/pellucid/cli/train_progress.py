"""A training as a person at a terminal sees it: a bar with the time that is left, or a line now and then."""

import sys
import time
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pellucid.cli.quantities import span
from pellucid.cli.train_status_view import progress_sentence
from pellucid.training.journal.status import TrainingStatus

_EVERY_S = 30.0


class TrainingProgress:
    """Draws a bar for each task on a terminal; elsewhere writes a line now and then, so that logs stay readable.

    Args:
        shows: whether this process shows anything; one of several ranks does.
        live: whether to draw bars; whether standard error is a terminal, where omitted.
    """

    def __init__(self, *, shows: bool = True, live: bool | None = None) -> None:
        self._shows = shows
        self._live = sys.stderr.isatty() if live is None else live
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            disable=not (self._live and shows),
        )
        self._rows: dict[str, TaskID] = {}
        self._said, self._said_at = ("", ""), 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def show(self, status: TrainingStatus) -> None:
        """The training, about once a second; called by the journal, from any thread."""
        if not self._shows:
            return
        if self._live:
            self._draw(status)
        else:
            self._write(status)

    def say(self, text: str) -> None:
        """A sentence about something that happened."""
        if not self._shows:
            return
        if self._live:
            self._bars.console.print(text, style="bold", highlight=False)
        else:
            typer.echo(text, err=True)

    def _draw(self, status: TrainingStatus) -> None:
        name, done, total = _counted(status)
        if not name:
            return
        if name not in self._rows:
            self._rows[name] = self._bars.add_task(name, total=total, note="")
        self._bars.update(self._rows[name], completed=done, total=total, note=_note(status))

    def _write(self, status: TrainingStatus) -> None:
        """A line when what is done changes, when it ends, and twice a minute between."""
        name, _, _ = _counted(status)
        now, doing = time.monotonic(), (name, status.state.value)
        if not name or (doing == self._said and now - self._said_at < _EVERY_S):
            return
        self._said, self._said_at = doing, now
        state = "" if status.state.value == "running" else f"{status.state.value}; "
        note = _note(status)
        typer.echo(f"{state}{progress_sentence(status)}{f'; {note}' if note else ''}", err=True)


def _counted(status: TrainingStatus) -> tuple[str, int, int]:
    if status.stage:
        return status.stage, status.stage_done, status.stage_total
    return status.task, status.step, status.n_steps


def _note(status: TrainingStatus) -> str:
    if status.stage or not status.is_running:
        return ""
    parts = [] if status.eta_s is None else [f"about {span(status.eta_s)} left"]
    if status.lost_steps:
        parts.append(f"a kill loses {span(status.lost_s)}")
    return ", ".join(parts)
