"""Whether a TIFF file is as long as its own directories say."""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pellucid.slides.errors import FileDamaged

_TILE_OFFSETS, _TILE_COUNTS, _STRIP_OFFSETS, _STRIP_COUNTS = 324, 325, 273, 279
_WIDTHS = {3: 2, 4: 4, 13: 4, 16: 8}
_MAX_DIRECTORIES = 4096


def check_tiff_extent(path: Path) -> None:
    """Check that all data that a TIFF file lists lies inside the file; other files pass.

    Raises:
        FileDamaged: the file ends before its data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = _last_byte(file, size)
    if end > size:
        raise FileDamaged(f"The file is truncated: its data reach to byte {end}, but it has only {size}.")


def _last_byte(file: BinaryIO, size: int) -> int:
    """One past the last byte the directories refer to; 0 where the file is no TIFF."""
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return 0
    version = struct.unpack(order + "H", head[2:4])[0]
    if version == 42:
        big, offset = False, struct.unpack(order + "I", head[4:8])[0]
    elif version == 43 and len(head) == 16:
        big, offset = True, struct.unpack(order + "Q", head[8:16])[0]
    else:
        return 0
    end, seen = 0, set[int]()
    while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(offset)
        data_end, offset, directory_end = _directory(file, offset, order, big)
        end = max(end, data_end, directory_end)
        if end > size:
            break
    return end


def _directory(file: BinaryIO, offset: int, order: str, big: bool) -> tuple[int, int, int]:
    """One past the last byte of a directory's data; the next directory; one past the directory itself."""
    count_width, entry_width, pointer = (8, 20, "Q") if big else (2, 12, "I")
    file.seek(offset)
    raw = file.read(count_width)
    if len(raw) < count_width:
        return 0, 0, offset + count_width
    n_entries = struct.unpack(order + ("Q" if big else "H"), raw)[0]
    pointer_width = struct.calcsize(pointer)
    directory_end = offset + count_width + n_entries * entry_width + pointer_width
    table = file.read(min(n_entries, 4096) * entry_width)
    rest = file.read(pointer_width)
    if len(table) < n_entries * entry_width or len(rest) < pointer_width:
        return 0, 0, directory_end
    arrays: dict[int, NDArray[Any]] = {}
    for at in range(0, len(table), entry_width):
        tag, kind = struct.unpack(order + "HH", table[at : at + 4])
        if tag in {_TILE_OFFSETS, _TILE_COUNTS, _STRIP_OFFSETS, _STRIP_COUNTS} and kind in _WIDTHS:
            n_values = struct.unpack(order + pointer, table[at + 4 : at + 4 + pointer_width])[0]
            field = table[at + 4 + pointer_width : at + entry_width]
            values, end = _values(file, field, kind, n_values, order, pointer)
            if values is None:
                return end, 0, directory_end
            arrays[tag] = values
    return _data_end(arrays), struct.unpack(order + pointer, rest)[0], directory_end


def _values(
    file: BinaryIO, field: bytes, kind: int, n_values: int, order: str, pointer: str
) -> tuple[NDArray[Any] | None, int]:
    """An entry's values, or None and the byte they would reach to."""
    width = _WIDTHS[kind]
    n_bytes = n_values * width
    if n_bytes <= len(field):
        raw = field[:n_bytes]
    else:
        at = struct.unpack(order + pointer, field)[0]
        file.seek(0, 2)
        if at + n_bytes > file.tell():
            return None, at + n_bytes
        file.seek(at)
        raw = file.read(n_bytes)
    return np.frombuffer(raw, dtype=f"{order}u{width}").astype(np.uint64), 0


def _data_end(arrays: dict[int, NDArray[Any]]) -> int:
    end = 0
    for offsets, counts in ((_TILE_OFFSETS, _TILE_COUNTS), (_STRIP_OFFSETS, _STRIP_COUNTS)):
        if offsets in arrays and counts in arrays and len(arrays[offsets]) == len(arrays[counts]) > 0:
            stored = arrays[counts] > 0
            if stored.any():
                end = max(end, int((arrays[offsets] + arrays[counts])[stored].max()))
    return end
