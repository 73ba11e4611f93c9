"""A scan's embeddings on disk while they come in, so that whoever dies, no finished tile is embedded twice.

One file a scan, `checkpoint_format` says how. A SIGKILL at any moment loses what was not yet written; a power cut, what
was written after the last `sync`. What was damaged is not believed: its tiles count as not done.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.core.files import atomic_path, storage_errors, sync_path
from pellucid.engine.checkpoint_format import (
    CheckpointHeader,
    Record,
    header_bytes,
    header_seed,
    read_header,
    read_records,
    record_parts,
)

__all__ = ["Checkpoint", "CheckpointHeader", "CheckpointIncomplete", "CheckpointState", "describe", "read_checkpoint"]

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class CheckpointIncomplete(PellucidError):
    """A scan's embeddings on disk lack tiles, or some were damaged there."""

    code = "PEL-ENGINE-021"
    remedy = "Start the same run again: it embeds what is missing. If it comes back, check that disk."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointState:
    """What a checkpoint holds. `modified` is epoch seconds of the last write; rows were not checked."""

    header: CheckpointHeader
    n_done: int
    n_unreadable: int
    size_bytes: int
    modified: float


class Checkpoint:
    """The embeddings of one scan, appended batch by batch. One writer; not for several threads, but `sync`.

    Attributes:
        done: (n_tiles,) bool, tiles whose outcome is written; not to be changed.
        readable: (n_tiles,) bool, done tiles that have an embedding; not to be changed.
        n_done: how many tiles are done.
        n_synced: how many of them a power cut can't take; 0 after `open` until the first `sync`.
    """

    def __init__(self, path: Path, header: CheckpointHeader, file: BinaryIO) -> None:
        self.path = path
        self.header = header
        self.done = np.zeros(header.n_tiles, dtype=np.bool_)
        self.readable = np.zeros(header.n_tiles, dtype=np.bool_)
        self.n_done = 0
        self.n_synced = 0
        self._file = file
        self._seed = header_seed(header)
        self._end = 0
        self._folder_synced = False
        self._sync_failed = False

    @classmethod
    def open(cls, path: Path, header: CheckpointHeader) -> Self:
        """Go on with the file at `path` as far as it is whole and fits the header; anything else starts anew.

        A file that another process still writes to, such as one that lost its lease while it was frozen, is left to
        that process; this one goes on with a copy under the same path.

        Raises:
            StorageFull: there is no space for the header.
            OSError: the place can't be written.
        """
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint = cls(path, header, _own(path))
            try:
                checkpoint._resume()
            except BaseException:
                checkpoint.close()
                raise
        return checkpoint

    def write(self, index: NDArray[np.int64], features: NDArray[np.float16], readable: NDArray[np.bool_]) -> None:
        """Append the outcome of tiles `index (m,) int64`; they survive this process once the call returns.

        Args:
            index: places in the grid, each at most once.
            features: (m, dim) float16; an unreadable tile's row is ignored.
            readable: (m,) bool.

        Raises:
            StorageFull: no space is left. Nothing of this call is kept, all before it is, and it may be called again.
            ValueError: shapes, types or indices don't fit.
        """
        parts = record_parts(self.header, self._seed, index, features, readable)
        self._append(parts)
        self._note(Record(index=index, readable=readable, rows=None))

    def sync(self) -> None:
        """Bring all that was written onto the disk. May run in a thread beside `write` and `close`.

        Raises:
            StorageFull: the file system took the writes and has no space for them.
            OSError: the disk failed. What it lost is unknown, and `n_synced` stays where it is from then on.
        """
        if self._file.closed:
            return
        written = self.n_done
        with storage_errors(self.path):
            # The writer may close its file meanwhile.
            handle = os.dup(self._file.fileno())
            try:
                os.fdatasync(handle)
                if not self._folder_synced:
                    sync_path(self.path.parent)
                    self._folder_synced = True
            except OSError:
                # The kernel forgets pages it failed to write: a later success would not speak of them.
                self._sync_failed = True
                raise
            finally:
                os.close(handle)
        if not self._sync_failed:
            self.n_synced = max(self.n_synced, written)

    def close(self) -> None:
        """Close the file, which stays. May be called twice."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the file, unless another process has put its own in its place."""
        if not self._file.closed and _is_at(self._file, self.path):
            self.path.unlink(missing_ok=True)
        self.close()

    def _resume(self) -> None:
        try:
            if read_header(self._file) == self.header:
                self._end = len(header_bytes(self.header))
                for record, end in read_records(self._file, self.header, rows=True):
                    self._end = end
                    if record.rows is not None:
                        self._note(record)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        os.ftruncate(self._file.fileno(), self._end)
        if self._end == 0:
            self._append((header_bytes(self.header),))

    def _append(self, parts: tuple[bytes | memoryview, ...]) -> None:
        handle = self._file.fileno()
        try:
            with storage_errors(self.path):
                self._end = _write_all(handle, parts, self._end)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self._end)
            raise

    def _note(self, record: Record) -> None:
        self.done[record.index] = True
        self.readable[record.index] = record.readable
        self.n_done = int(np.count_nonzero(self.done))


def read_checkpoint(path: Path) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Embeddings `(n_readable, dim) float16` in the grid's order, and `readable (n_tiles,) bool`.

    Raises:
        CheckpointIncomplete: the file is no checkpoint, tiles are missing, or rows are damaged.
        FileNotFoundError: there is no file.
    """
    with path.open("rb") as file:
        header = read_header(file)
        if header is None:
            raise CheckpointIncomplete(f"{path.name} is no whole checkpoint.")
        features = np.zeros((header.n_tiles, header.dim), dtype=np.float16)
        done = np.zeros(header.n_tiles, dtype=np.bool_)
        readable = np.zeros(header.n_tiles, dtype=np.bool_)
        for record, _ in read_records(file, header, rows=True):
            if record.rows is not None:
                done[record.index] = True
                readable[record.index] = record.readable
                features[record.index[record.readable]] = record.rows
    if not done.all():
        missing = int(np.count_nonzero(~done))
        raise CheckpointIncomplete(f"{path.name} lacks {missing} of {header.n_tiles} tiles.")
    return (features if readable.all() else features[readable]), readable


def describe(path: Path) -> CheckpointState | None:
    """What a checkpoint holds, also one that is being written; None where there is none. Reads no rows."""
    try:
        with path.open("rb") as file:
            header = read_header(file)
            if header is None:
                return None
            state = np.zeros(header.n_tiles, dtype=np.uint8)
            for record, _ in read_records(file, header, rows=False):
                state[record.index] = 2 - record.readable
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return CheckpointState(
        header=header,
        n_done=int(np.count_nonzero(state)),
        n_unreadable=int(np.count_nonzero(state == 2)),
        size_bytes=status.st_size,
        modified=status.st_mtime,
    )


def _own(path: Path) -> BinaryIO:
    """The file at `path`, made where absent, that no other living process writes to."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
        locked = _lock(file)
        if locked and _is_at(file, path):
            return file
        file.close()
        if not locked:
            with atomic_path(path) as copy:
                shutil.copyfile(path, copy)


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _write_all(handle: int, parts: tuple[bytes | memoryview, ...], offset: int) -> int:
    left = [memoryview(part) for part in parts if len(part)]
    while left:
        n_written = os.pwritev(handle, left, offset)
        offset += n_written
        while left and n_written >= len(left[0]):
            n_written -= len(left.pop(0))
        if n_written:
            left[0] = left[0][n_written:]
    return offset
