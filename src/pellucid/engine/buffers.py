"""The shared memory that tiles and features travel in."""

import contextlib
import fcntl
import mmap
import os
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pellucid.engine.messages import BufferShape

_PAGE: Final = mmap.PAGESIZE


def shape_bytes(shape: BufferShape) -> int:
    """The bytes of memory that buffers of a shape take once all of them are in use."""
    return shape.n_slots * _slot_bytes(shape)


class Buffers:
    """Slots of tiles and features in anonymous shared memory.

    The memory has no name and lies in no folder, so that a small `/dev/shm` doesn't matter and nothing is left behind
    by a process that was killed. Its size is sealed: no process can take pages away from under another. It is made
    page by page when it is first written.

    Whoever holds a view of a slot keeps the memory mapped, closed or not.
    """

    def __init__(self, fd: int, shape: BufferShape) -> None:
        """Map the memory behind `fd`, which these buffers own from then on."""
        self._fd = fd
        self._shape = shape
        self._memory = mmap.mmap(fd, shape_bytes(shape))
        bytes_ = np.frombuffer(self._memory, np.uint8)
        self._tiles = [_tiles(bytes_, shape, slot) for slot in range(shape.n_slots)]
        self._features = [_features(bytes_, shape, slot) for slot in range(shape.n_slots)]

    @classmethod
    def create(cls, shape: BufferShape) -> "Buffers":
        """New buffers, all zeros.

        Raises:
            OSError: the system has no room for them.
        """
        fd = os.memfd_create("pellucid-buffers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, shape_bytes(shape))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            return cls(fd, shape)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int, shape: BufferShape) -> "Buffers":
        """The buffers that another process created; `fd` is this process's own to close.

        Raises:
            ValueError: there is less memory behind `fd` than the shape takes.
        """
        size = os.fstat(fd).st_size
        if size != shape_bytes(shape):
            raise ValueError(f"buffers of {size} bytes can't have the shape {shape}, which takes {shape_bytes(shape)}")
        return cls(fd, shape)

    @property
    def fd(self) -> int:
        """The file descriptor to hand to a process."""
        return self._fd

    @property
    def shape(self) -> BufferShape:
        """The buffers' shape."""
        return self._shape

    def tiles(self, slot: int) -> NDArray[np.uint8]:
        """The tiles of a slot, a writable view `(batch, tile_px, tile_px, 3) uint8`."""
        return self._tiles[slot]

    def features(self, slot: int) -> NDArray[np.float16]:
        """The features of a slot, a writable view `(batch, dim) float16`."""
        return self._features[slot]

    def close(self) -> None:
        """Let go of the memory; views that others hold stay valid until they are dropped."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._tiles, self._features = [], []
        with contextlib.suppress(BufferError):  # a view is still held: the mapping ends with the last one
            self._memory.close()
        os.close(fd)


def _pages(n_bytes: int) -> int:
    return -(-n_bytes // _PAGE) * _PAGE


def _tile_bytes(shape: BufferShape) -> int:
    return shape.batch * shape.tile_px * shape.tile_px * 3


def _slot_bytes(shape: BufferShape) -> int:
    return _pages(_tile_bytes(shape)) + _pages(shape.batch * shape.dim * 2)


def _tiles(memory: NDArray[np.uint8], shape: BufferShape, slot: int) -> NDArray[np.uint8]:
    start = slot * _slot_bytes(shape)
    return memory[start : start + _tile_bytes(shape)].reshape(shape.batch, shape.tile_px, shape.tile_px, 3)


def _features(memory: NDArray[np.uint8], shape: BufferShape, slot: int) -> NDArray[np.float16]:
    start = slot * _slot_bytes(shape) + _pages(_tile_bytes(shape))
    part = memory[start : start + shape.batch * shape.dim * 2]
    return part.view(np.float16).reshape(shape.batch, shape.dim)
