"""A small TIFF writer for pages of encoded JPEG: tifffile writes them only with imagecodecs, which Pellucid lacks.

TIFF 6.0 (Adobe, 1992) with JPEG compression by TIFF Technical Note 2; BigTIFF by Adobe's 2007 design. A page's
directory lies before its data, as in files that scanners write, and no time of day is stored.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

_ASCII, _SHORT, _LONG, _RATIONAL, _LONG8 = 2, 3, 4, 5, 16
_JPEG, _YCBCR, _CENTIMETER = 7, 6, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One image of a file.

    `tile_px` None: one strip. `mpp` None: no resolution is stated. `subfile` is the tag's value (0 full resolution,
    1 reduced). `device` is the scanner, in the tag for a model.
    """

    width: int
    height: int
    parts: Iterable[bytes]
    tile_px: int | None
    description: str | None
    software: str
    device: str | None = None
    subfile: int = 0
    mpp: float | None = None

    @property
    def n_parts(self) -> int:
        """The number of tiles, or 1 for a strip."""
        if self.tile_px is None:
            return 1
        return -(-self.width // self.tile_px) * -(-self.height // self.tile_px)


@dataclass(frozen=True, slots=True)
class _Field:
    tag: int
    kind: int
    count: int
    payload: bytes


class TiffFile:
    """Appends pages to a new little-endian TIFF.

    Args:
        file: empty, seekable, open for writing.
        big: BigTIFF, for files that may pass 4 GB.
    """

    def __init__(self, file: BinaryIO, *, big: bool) -> None:
        self._file = file
        self._offset, self._count = ("<Q", "<Q") if big else ("<I", "<H")
        self._offset_kind = _LONG8 if big else _LONG
        file.write(b"II" + (struct.pack("<HHH", 43, 8, 0) if big else struct.pack("<H", 42)))
        self._link = file.tell()
        file.write(struct.pack(self._offset, 0))

    def append(self, page: Page) -> None:
        """Write a page; its parts are consumed one at a time.

        Raises:
            ValueError: there are more or fewer parts than the page's size asks for.
        """
        file = self._file
        file.write(b"\0" * (-file.tell() % 8))
        start = file.tell()
        zeros = [0] * page.n_parts
        file.write(self._directory(start, page, zeros, zeros))
        offsets, sizes = [], []
        for part in page.parts:
            offsets.append(file.tell())
            sizes.append(len(part))
            file.write(part)
            # Parts start at even offsets.
            file.write(b"\0" * (len(part) % 2))
        if len(offsets) != page.n_parts:
            raise ValueError(f"{len(offsets)} parts were given for a page of {page.n_parts}")
        end = file.tell()
        file.seek(start)
        file.write(self._directory(start, page, offsets, sizes))
        file.seek(self._link)
        file.write(struct.pack(self._offset, start))
        file.seek(end)
        n_fields = len(self._fields(page, zeros, zeros))
        self._link = start + struct.calcsize(self._count) + n_fields * self._field_bytes

    @property
    def _field_bytes(self) -> int:
        return 4 + 2 * struct.calcsize(self._offset)

    def _directory(self, start: int, page: Page, offsets: list[int], sizes: list[int]) -> bytes:
        """The directory and, after it, what doesn't fit into its fields."""
        fields = self._fields(page, offsets, sizes)
        room = struct.calcsize(self._offset)
        head = struct.calcsize(self._count) + len(fields) * self._field_bytes + room
        directory, beyond = [struct.pack(self._count, len(fields))], b""
        for field in fields:
            if len(field.payload) <= room:
                value = field.payload.ljust(room, b"\0")
            else:
                beyond += b"\0" * (-(head + len(beyond)) % 8)
                value = struct.pack(self._offset, start + head + len(beyond))
                beyond += field.payload
            directory.append(struct.pack("<HH", field.tag, field.kind))
            directory.append(struct.pack(self._offset, field.count) + value)
        whole = b"".join(directory) + struct.pack(self._offset, 0) + beyond
        return whole + b"\0" * (-len(whole) % 8)

    def _fields(self, page: Page, offsets: list[int], sizes: list[int]) -> list[_Field]:
        first, second = (273, 279) if page.tile_px is None else (324, 325)
        fields = [
            _numbers(254, _LONG, page.subfile),
            _numbers(256, _LONG, page.width),
            _numbers(257, _LONG, page.height),
            _numbers(258, _SHORT, 8, 8, 8),
            _numbers(259, _SHORT, _JPEG),
            # The parts hold YCbCr; a tag that said RGB would turn the picture magenta.
            _numbers(262, _SHORT, _YCBCR),
            _numbers(277, _SHORT, 3),
            _numbers(284, _SHORT, 1),
            _text(305, page.software),
            _numbers(530, _SHORT, 2, 2),
            _numbers(first, self._offset_kind, *offsets),
            _numbers(second, _LONG, *sizes),
        ]
        if page.device is not None:
            fields.append(_text(272, page.device))
        if page.description is not None:
            fields.append(_text(270, page.description))
        if page.tile_px is None:
            fields.append(_numbers(278, _LONG, page.height))
        else:
            fields += [_numbers(322, _LONG, page.tile_px), _numbers(323, _LONG, page.tile_px)]
        if page.mpp is not None:
            fields += [_resolution(282, page.mpp), _resolution(283, page.mpp), _numbers(296, _SHORT, _CENTIMETER)]
        return sorted(fields, key=lambda field: field.tag)


_FORMATS = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


def _numbers(tag: int, kind: int, *values: int) -> _Field:
    return _Field(tag, kind, len(values), struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values))


def _text(tag: int, text: str) -> _Field:
    payload = text.encode("ascii") + b"\0"
    return _Field(tag, _ASCII, len(payload), payload)


def _resolution(tag: int, mpp: float) -> _Field:
    per_centimetre = Fraction(10_000 / mpp).limit_denominator(1000)
    return _Field(tag, _RATIONAL, 1, struct.pack("<II", per_centimetre.numerator, per_centimetre.denominator))
