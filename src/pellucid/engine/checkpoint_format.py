"""The bytes of a checkpoint: a header, then one record after the other, each with check sums of its own.

    header   "PELLEMB" and the version, u8 | u32 length | JSON of the header | u32 CRC-32 of all that
    record   "ROWS" | u32 tiles | u32 readable tiles | u32 CRC-32 of the rows
             | u32 index of each tile | u8 readable, 0 or 1, of each tile | u32 CRC-32 of all that
             | rows of the readable tiles, dim x float16

All little-endian. The check sums of records begin at the header's, so a record of another scan or encoder never passes.
A record is appended by one write, never changed, and says all about its tiles: whatever part of it reached the disk
when the writer was killed or the power cut, its check sums tell. Where a tile has several records, the last whole one
counts.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

VERSION = 1
_MAGIC = b"PELLEMB" + bytes([VERSION])
_ROWS = b"ROWS"
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<4sIII")
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointHeader:
    """All that a scan's embeddings depend on.

    `scan` identifies the bytes of the scan, `spec` the encoder and how tiles are made for it, `grid` the places of its
    `n_tiles` tiles; `dim` is the embeddings' length.
    """

    scan: str
    spec: str
    grid: str
    n_tiles: int
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """Tiles written at once: `index (m,) int64`, `readable (m,) bool`.

    `rows (n_readable, dim) float16` is None where they were not asked for, or are not what was written.
    """

    index: NDArray[np.int64]
    readable: NDArray[np.bool_]
    rows: NDArray[np.float16] | None


def header_bytes(header: CheckpointHeader) -> bytes:
    """The header as it stands at a file's begin."""
    return _header_block(header) + _LENGTH.pack(header_seed(header))


def header_seed(header: CheckpointHeader) -> int:
    """The header's check sum, where those of its records begin."""
    # Not over the check sum itself too: a text with its own CRC behind it has the same CRC whatever the text is.
    return zlib.crc32(_header_block(header))


def _header_block(header: CheckpointHeader) -> bytes:
    text = json.dumps(asdict(header), sort_keys=True, separators=(",", ":")).encode()
    return _MAGIC + _LENGTH.pack(len(text)) + text


def read_header(file: BinaryIO) -> CheckpointHeader | None:
    """The header at the file's begin, or None where there is no whole one of this version."""
    file.seek(0)
    opening = file.read(len(_MAGIC) + _LENGTH.size)
    if len(opening) < len(_MAGIC) + _LENGTH.size or not opening.startswith(_MAGIC):
        return None
    (length,) = _LENGTH.unpack(opening[len(_MAGIC) :])
    if length > _LONGEST_HEADER:
        return None
    text, check = file.read(length), file.read(_LENGTH.size)
    if check != _LENGTH.pack(zlib.crc32(opening + text)):
        return None
    try:
        return CheckpointHeader(**json.loads(text))
    except (ValueError, TypeError):
        return None


def record_parts(
    header: CheckpointHeader,
    seed: int,
    index: NDArray[np.int64],
    features: NDArray[np.float16],
    readable: NDArray[np.bool_],
) -> tuple[bytes, memoryview]:
    """A record as two parts to be written one after the other; `seed` is `header_seed(header)`.

    Raises:
        ValueError: the arrays' shapes or types don't fit together, or an index is outside the grid.
    """
    if not (index.ndim == 1 and readable.shape == index.shape and features.shape == (len(index), header.dim)):
        raise ValueError(f"index {index.shape}, readable {readable.shape}, features {features.shape}")
    if features.dtype != np.float16 or readable.dtype != np.bool_:
        raise ValueError(f"features are {features.dtype} and readable is {readable.dtype}")
    if len(index) and not 0 <= index.min() <= index.max() < header.n_tiles:
        raise ValueError(f"an index is outside of 0 to {header.n_tiles - 1}")
    kept = features if readable.all() else features[readable]
    rows = np.ascontiguousarray(kept, dtype="<f2").data.cast("B") if kept.size else memoryview(b"")
    head = _HEAD.pack(_ROWS, len(index), len(kept), zlib.crc32(rows, seed))
    head += index.astype("<u4").tobytes() + readable.tobytes()
    return head + _LENGTH.pack(zlib.crc32(head, seed)), rows


def read_records(file: BinaryIO, header: CheckpointHeader, *, rows: bool) -> Iterator[tuple[Record, int]]:
    """The records after the header up to the first that is no whole one, each with the offset of its end.

    Rows are read and checked only where `rows` is true; else they are passed over.
    """
    seed = header_seed(header)
    size = file.seek(0, 2)
    end = file.seek(len(header_bytes(header)))
    while (head := _read_head(file, header, seed)) is not None:
        index, readable, n_rows, check = head
        end = file.tell() + n_rows * header.dim * 2
        if end > size:
            return
        kept = _read_rows(file, (n_rows, header.dim), check, seed) if rows else None
        yield Record(index=index, readable=readable, rows=kept), end
        file.seek(end)


_Head = tuple[NDArray[np.int64], NDArray[np.bool_], int, int]


def _read_head(file: BinaryIO, header: CheckpointHeader, seed: int) -> _Head | None:
    opening = file.read(_HEAD.size)
    if len(opening) < _HEAD.size:
        return None
    magic, count, n_rows, rows_check = _HEAD.unpack(opening)
    if magic != _ROWS or count > header.n_tiles:
        return None
    places = file.read(count * 5)
    if file.read(_LENGTH.size) != _LENGTH.pack(zlib.crc32(opening + places, seed)):
        return None
    index = np.frombuffer(places, dtype="<u4", count=count).astype(np.int64)
    readable = np.frombuffer(places, dtype=np.uint8, offset=count * 4).astype(np.bool_)
    return index, readable, n_rows, rows_check


def _read_rows(file: BinaryIO, shape: tuple[int, int], check: int, seed: int) -> NDArray[np.float16] | None:
    data = file.read(shape[0] * shape[1] * 2)
    if zlib.crc32(data, seed) != check:
        return None
    return np.frombuffer(data, dtype="<f2").reshape(shape).astype(np.float16, copy=False)
