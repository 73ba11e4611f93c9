"""The directories of a TIFF file, classic or big: only the fields that say where tiles lie and how they are coded."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_WIDTHS = {1: 1, 3: 2, 4: 4, 7: 1, 13: 4, 16: 8}
_MAX_DIRECTORIES = 4096
_MAX_ENTRIES = 4096


class Tag(IntEnum):
    """The fields that are read."""

    WIDTH = 256
    LENGTH = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    SAMPLES = 277
    STRIP_COUNTS = 279
    PLANAR = 284
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    JPEG_TABLES = 347


_WANTED = frozenset(Tag)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Directory:
    """One image of a TIFF file.

    `values` holds each field's values as `(n,) uint64`. `reach` is one past the last byte of the directory and of all
    that it refers to; where that lies beyond the file, fields are missing.
    """

    values: dict[int, NDArray[np.uint64]]
    reach: int

    def number(self, tag: Tag, default: int = 0) -> int:
        """A field's first value."""
        values = self.values.get(tag)
        return default if values is None or len(values) == 0 else int(values[0])


@dataclass(frozen=True, slots=True)
class _Form:
    """How a file writes numbers and directories."""

    order: str
    big: bool

    def number(self, code: str, raw: bytes) -> int:
        return int(struct.unpack(self.order + code, raw)[0])

    @property
    def pointer(self) -> str:
        return "Q" if self.big else "I"

    @property
    def pointer_width(self) -> int:
        return 8 if self.big else 4

    @property
    def count(self) -> str:
        return "Q" if self.big else "H"

    @property
    def count_width(self) -> int:
        return 8 if self.big else 2

    @property
    def entry_width(self) -> int:
        return 20 if self.big else 12


def read_directories(file: BinaryIO, size: int) -> Iterator[Directory]:
    """The directories of a file of `size` bytes in their order, up to the first that reaches beyond its end.

    A file that is no TIFF has none. At most 4096 directories are read, each once.
    """
    head = _head(file.read(16))
    if head is None:
        return
    form, offset = head
    seen = set[int]()
    while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(offset)
        directory, offset = _directory(file, offset, form, size)
        yield directory
        if directory.reach > size:
            return


def _head(raw: bytes) -> tuple[_Form, int] | None:
    """How the file writes, and where its first directory is; None where it is no TIFF."""
    order = {b"II": "<", b"MM": ">"}.get(raw[:2])
    if order is None or len(raw) < 8:
        return None
    version = struct.unpack(order + "H", raw[2:4])[0]
    if version == 42:
        return _Form(order, big=False), struct.unpack(order + "I", raw[4:8])[0]
    if version == 43 and len(raw) == 16:
        return _Form(order, big=True), struct.unpack(order + "Q", raw[8:16])[0]
    return None


def _directory(file: BinaryIO, offset: int, form: _Form, size: int) -> tuple[Directory, int]:
    """A directory, and where the next one is."""
    file.seek(offset)
    raw = file.read(form.count_width)
    if len(raw) < form.count_width:
        return Directory(values={}, reach=offset + form.count_width), 0
    n_entries = form.number(form.count, raw)
    end = offset + form.count_width + n_entries * form.entry_width + form.pointer_width
    table = file.read(min(n_entries, _MAX_ENTRIES) * form.entry_width)
    link = file.read(form.pointer_width)
    if len(table) < n_entries * form.entry_width or len(link) < form.pointer_width:
        return Directory(values={}, reach=end), 0
    values: dict[int, NDArray[np.uint64]] = {}
    for at in range(0, len(table), form.entry_width):
        entry = table[at : at + form.entry_width]
        tag, kind = form.number("H", entry[:2]), form.number("H", entry[2:4])
        if tag in _WANTED and kind in _WIDTHS:
            read, reach = _values(file, entry[4:], _WIDTHS[kind], form, size)
            if read is None:
                return Directory(values=values, reach=reach), 0
            values[tag] = read
    return Directory(values=values, reach=max(end, _data_end(values))), form.number(form.pointer, link)


def _values(file: BinaryIO, entry: bytes, width: int, form: _Form, size: int) -> tuple[NDArray[np.uint64] | None, int]:
    """An entry's values, or None and the byte that they would reach to."""
    n_bytes = form.number(form.pointer, entry[: form.pointer_width]) * width
    field = entry[form.pointer_width :]
    if n_bytes <= len(field):
        raw = field[:n_bytes]
    else:
        at = form.number(form.pointer, field)
        if at + n_bytes > size:
            return None, at + n_bytes
        file.seek(at)
        raw = file.read(n_bytes)
    return np.frombuffer(raw, dtype=f"{form.order}u{width}").astype(np.uint64), 0


def _data_end(values: dict[int, NDArray[Any]]) -> int:
    end = 0
    for offsets, counts in ((Tag.TILE_OFFSETS, Tag.TILE_COUNTS), (Tag.STRIP_OFFSETS, Tag.STRIP_COUNTS)):
        if offsets in values and counts in values and len(values[offsets]) == len(values[counts]) > 0:
            stored = values[counts] > 0
            if stored.any():
                end = max(end, int((values[offsets] + values[counts])[stored].max()))
    return end
