"""Files of one JSON object a line, that survive whatever kills their writer.

A kill or a full disk may leave a line half written. The next writer ends such a line before it writes its own, and
readers pass over lines that are no JSON object, so that a torn one costs nothing but itself.
"""

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pellucid.core.files import atomic_path, storage_errors


class LineFile:
    """A file that lines are appended to, by any thread.

    Args:
        path: made where it is missing, with its folder.
        durable: whether each line is forced to the disk before `write` returns.

    Raises:
        OSError: it can't be opened for appending.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path, self._durable = path, durable
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._torn = _ends_torn(path)
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line; numbers that are not finite become null.

        Raises:
            StorageFull: the disk is full.
            OSError: it can't be written; the next line begins anew all the same.
        """
        line = _encoded(values)
        with self._lock, storage_errors(self._path):
            left = memoryview(b"\n" + line if self._torn else line)
            self._torn = True
            while left:
                left = left[os.write(self._handle, left) :]
            self._torn = False
            if self._durable:
                os.fsync(self._handle)

    def close(self) -> None:
        """Close the file; what was written stays readable."""
        os.close(self._handle)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a file, in order; none where there is no file."""
    for _, values in _whole_lines(path):
        yield values


def supersede(path: Path, task: str, step: int) -> int:
    """Take away what a resumed task does again: its lines of step `step` (from 0) and later, and torn ones.

    The file is replaced whole or not at all, and left alone where nothing is superseded.

    Returns:
        How many lines were taken away.

    Raises:
        StorageFull: the disk is full; the file is as before.
    """
    if not any(_is_superseded(values, task, step) for values in read_lines(path)):
        return 0
    dropped = 0
    with atomic_path(path) as part, part.open("wb") as file:
        for raw, values in _whole_lines(path):
            if _is_superseded(values, task, step):
                dropped += 1
            else:
                file.write(raw.rstrip(b"\n") + b"\n")
    return dropped


def _is_superseded(values: Mapping[str, Any], task: str, step: int) -> bool:
    number = values.get("step")
    return values.get("task") == task and isinstance(number, int) and number >= step


def _whole_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for raw in file:
            try:
                values = json.loads(raw)
            except ValueError:
                continue
            if isinstance(values, dict):
                yield raw, values


def _ends_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def _encoded(values: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        text = json.dumps(_plain(values), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
