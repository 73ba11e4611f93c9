"""TensorBoard's event files, one folder a task."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.core.files import storage_errors


class Board:
    """The event file of one task, written by the caller's own thread.

    tensorboardX's writer with a thread of its own is left out on purpose: once its disk is full its thread is dead, and
    the training that goes on adding figures to its bounded queue waits for ever.

    Args:
        folder: gets one more event file.
        step: where the task is begun or resumed; TensorBoard leaves out what earlier files say of this step and later.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._events, self._path = event_pb2, folder
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        with storage_errors(folder):
            # the name holds only whole seconds otherwise, and a file of the same name would be written over
            self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{number:04d}")
        self._write(step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        self.flush()

    def add(self, step: int, figures: Mapping[str, float], *, at: float) -> None:
        """Add the figures of a step (from 0); `at` in seconds since 1970.

        Raises:
            StorageFull: the disk is full.
        """
        from tensorboardX.proto import summary_pb2

        values = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(step, at=at, summary=summary_pb2.Summary(value=values))

    def flush(self) -> None:
        """Force what was added to the disk."""
        with storage_errors(self._path):
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        with storage_errors(self._path):
            self._writer.close()

    def _write(self, step: int, *, at: float | None = None, **values: Any) -> None:
        event = self._events.Event(step=step, wall_time=time.time() if at is None else at, **values)
        with storage_errors(self._path):
            self._writer.write_event(event)
