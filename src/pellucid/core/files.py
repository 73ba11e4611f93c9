"""Files that are either whole or absent, whatever kills the writer."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pellucid.core.errors import StorageFull

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" from the operating system into `StorageFull`; let all else pass."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"No space is left to write {path}.") from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it once the block ends without an exception.

    The file is flushed to disk before it is renamed, and its folder after, so that a crash leaves
    the old file or the new one and never a part.

    Raises:
        StorageFull: the file system is full; nothing is left behind.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(path)
            sync_path(path.parent)
        finally:
            part.unlink(missing_ok=True)


def sync_path(path: Path) -> None:
    """Force a file's bytes, or a folder's names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON types, indented for people, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
