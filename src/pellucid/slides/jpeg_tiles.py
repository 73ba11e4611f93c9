"""Decode single JPEG tiles straight from the file."""

import os
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pellucid.slides.jpeg_index import JpegIndex

_START = b"\xff\xd8"
_SCAN = 0xDA
_LARGEST = 1 << 26
"""No tile that is decoded here has so many bytes, so a file that claims it is wrong."""


class JpegTiles:
    """The tiles of an indexed image, decoded one at a time into the same memory."""

    def __init__(self, path: Path, index: JpegIndex) -> None:
        self.index = index
        self._file = os.open(path, os.O_RDONLY)
        self._start = bytearray(len(_START))
        self._data = bytearray(index.head)
        self._pixels = _cached_memory(index.tile_height * index.tile_width * 3)
        self._header = b""

    def decode(self, row: int, column: int, *, scale: int = 1) -> NDArray[np.uint8] | None:
        """A tile at full or half size, `(tile_height // scale, tile_width // scale, 3)` RGB, valid until the next call.

        Half size is made by the decoder: an inverse cosine transform of 4 x 4 in place of 8 x 8.

        Args:
            row: of the tile.
            column: of the tile.
            scale: 1 or 2.

        Returns:
            None where the tile was left out, doesn't decode cleanly, or isn't what the file says of it.
        """
        data = self._read(int(self.index.offsets[row, column]), int(self.index.sizes[row, column]))
        if data is None or not self._is_as_stated(data):
            return None
        height, width = self.index.tile_height // scale, self.index.tile_width // scale
        try:
            pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, buffer=self._pixels)
        except ValueError:
            return None
        return np.asarray(pixels, np.uint8) if pixels.shape == (height, width, 3) else None

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._file >= 0

    def close(self) -> None:
        """Release the file; closing twice is harmless."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _read(self, offset: int, size: int) -> memoryview | None:
        """A tile's data behind the head."""
        if not len(_START) < size <= _LARGEST:
            return None
        n_head = len(self.index.head)
        end = n_head + size - len(_START)
        if end > len(self._data):
            self._data = bytearray(self.index.head) + bytes(end + end // 4 - n_head)
        data = memoryview(self._data)[:end]
        try:
            n_read = os.preadv(self._file, [self._start, data[n_head:]], offset)
        except OSError:
            return None
        return data if n_read == size and self._start == _START else None

    def _is_as_stated(self, data: memoryview) -> bool:
        """Whether the JPEG has the size and the colour space that the file states.

        Nearly all tiles of a scan have the same header, so the latest good one is remembered.
        """
        n_head, n_header = len(self.index.head), len(self._header)
        if n_header and bytes(data[n_head : n_head + n_header]) == self._header:
            return True
        end = _header_end(data, n_head)
        if end is None:
            return False
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError:
            return False
        if (height, width, colours) != (self.index.tile_height, self.index.tile_width, self.index.colours):
            return False
        self._header = bytes(data[n_head:end])
        return True


def _cached_memory(n_bytes: int) -> NDArray[np.uint8]:
    """Memory that begins at 16 bytes beyond a multiple of 32.

    At multiples of 32 libjpeg-turbo writes pixels past the CPU's caches, and reading them next, as is done here, then
    costs a fifth of decoding them.
    """
    memory = np.empty(n_bytes + 32, np.uint8)
    start = (16 - memory.ctypes.data) % 32
    return memory[start : start + n_bytes]


def _header_end(data: memoryview, at: int) -> int | None:
    """Where the compressed pixels begin, None where the segments before can't be followed."""
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _SCAN:
            return end if end <= len(data) else None
        at = end
    return None
