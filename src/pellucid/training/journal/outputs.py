"""Everything that a journal writes, none of which may end the training it tells of."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pellucid.core.errors import StorageFull
from pellucid.core.telemetry.logs import get_logger
from pellucid.core.telemetry.training_metrics import training_metrics
from pellucid.training.journal.boards import Board
from pellucid.training.journal.curves import draw_curves
from pellucid.training.journal.lines import LineFile, read_lines, supersede
from pellucid.training.journal.places import BOARDS, CURVES, EVENTS, METRICS, PROMETHEUS
from pellucid.training.journal.series import TaskCurves, read_curves
from pellucid.training.journal.status import TrainingStatus, write_status, write_unsynced


class Outputs:
    """The files of a run folder; made by the rank that writes.

    After the files are opened, a place that refuses is remembered in `problem`, logged once, and tried again with the
    next line; what could be written meanwhile is written.

    Raises:
        OSError: the folder or its files can't be opened: better to know before hours are spent.
    """

    def __init__(self, run: Path) -> None:
        self.problem = ""
        self._run = run
        # of the curves, and of the board and the status; the watch writes too
        self._lock, self._board_lock = threading.Lock(), threading.Lock()
        run.mkdir(parents=True, exist_ok=True)
        self._events = LineFile(run / EVENTS, durable=True)
        self._figures = LineFile(run / METRICS, durable=False)
        self._board: Board | None = None
        # the last step that each task has a line of: most begins supersede nothing, and needn't read the file
        self._last: dict[str, int] = {}
        self._curves = read_curves(self._noted(read_lines(run / METRICS)))
        self._metrics = training_metrics(run.resolve().name)

    def event(self, values: Mapping[str, Any]) -> None:
        """Append to the events, on the disk when this returns."""
        self._try("events", lambda: self._events.write(values))

    def begin(self, task: str, step: int) -> None:
        """A task begins at `step`: what was written of it from there on is superseded, in lines, curves and boards."""

        def reopen() -> None:
            supersede(self._run / METRICS, task, step)
            self._figures.close()
            self._figures = LineFile(self._run / METRICS, durable=False)
            self._last.clear()
            curves = read_curves(self._noted(read_lines(self._run / METRICS)))
            with self._lock:
                self._curves = curves

        def change_board() -> None:
            with self._board_lock:
                before, self._board = self._board, None
                if before is not None:
                    before.close()
                self._board = Board(self._run / BOARDS / task, step=step)

        if self._last.get(task, -1) >= step:
            self._try("metrics", reopen)
        self._try("tensorboard", change_board)

    def figures(self, line: dict[str, Any], figures: Mapping[str, float], *, at: float) -> None:
        """Append a step's or an epoch's line, and add its figures to the board and the curves."""
        self._last[line["task"]] = max(line["step"], self._last.get(line["task"], -1))
        self._try("metrics", lambda: self._figures.write(line))
        with self._lock:
            self._curves.setdefault(line["task"], TaskCurves()).add(line)
        with self._board_lock:
            board = self._board
            if board is not None:
                self._try("tensorboard", lambda: board.add(line["step"], figures, at=at))

    def status(self, status: TrainingStatus) -> None:
        """Replace the status and the metrics; one caller at a time."""
        self._try("status", lambda: write_status(self._run, status))
        self._metrics.show(status)
        self._try("metrics.prom", lambda: write_unsynced(self._run / PROMETHEUS, self._metrics.text()))

    def flush(self) -> None:
        """Force the board to the disk, so that what a resume goes on from is there."""
        with self._board_lock:
            if self._board is not None:
                self._try("tensorboard", self._board.flush)

    def draw(self, *, synthetic: bool) -> None:
        """Draw the curves anew."""
        with self._lock:
            curves = {task: one.copy() for task, one in self._curves.items()}
        title = self._run.resolve().name
        self._try("curves", lambda: draw_curves(self._run / CURVES, curves, title=title, synthetic=synthetic))

    def close(self) -> None:
        """Close every file."""
        with self._board_lock:
            if self._board is not None:
                self._try("tensorboard", self._board.close)
            self._board = None
        self._events.close()
        self._figures.close()

    def _noted(self, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for line in lines:
            task, step = line.get("task"), line.get("step")
            if isinstance(task, str) and isinstance(step, int):
                self._last[task] = max(step, self._last.get(task, -1))
            yield line

    def _try(self, what: str, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, StorageFull) as error:
            first = not self.problem
            self.problem = f"{what} could not be written: {getattr(error, 'strerror', None) or error}"
            if first:
                get_logger("training").warning("the training's record is incomplete", what=what, error=str(error))
