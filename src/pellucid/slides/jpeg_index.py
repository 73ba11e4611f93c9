"""Where the JPEG tiles of a scan's level 0 lie in a TIFF file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.slides.tiff import Directory, Tag, read_directories

_JPEG = 7
_COLOURS = {2: "RGB", 6: "YCbCr"}
_MAX_TILE_PX = 2048
"""Larger ones are better left to a reader that keeps decoded tiles."""
_START = b"\xff\xd8"
_END = b"\xff\xd9"
_IS_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""Without this marker (Adobe's APP14, transform 0) a JPEG decoder takes three components for YCbCr."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JpegIndex:
    """The compressed tiles of one image, row by row from its upper left corner.

    `width` and `height` are the image's, `tile_width` and `tile_height` those of every tile, in pixels; tiles at the
    right and lower edge reach beyond the image. `offsets` and `sizes` are `(rows, columns) int64`, bytes in the file;
    a size of 0 is a tile that was left out. `head` comes before a tile's own data from its third byte on, to make a
    whole JPEG of it. `colours` names the colour space of the data.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    head: bytes
    colours: str


def index_level_0(path: Path, width: int, height: int) -> JpegIndex | None:
    """The tiles of the one tiled image of this size, None where there isn't just one, or it isn't 8-bit JPEG.

    Args:
        path: a file whose extent was checked.
        width: of level 0, pixels.
        height: of level 0, pixels.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        found = [each for each in read_directories(file, size) if _is_tiled(each, width, height)]
    if len(found) != 1 or found[0].reach > size:
        return None
    return _indexed(found[0], width, height)


def _is_tiled(directory: Directory, width: int, height: int) -> bool:
    is_this = (directory.number(Tag.WIDTH), directory.number(Tag.LENGTH)) == (width, height)
    return is_this and Tag.TILE_OFFSETS in directory.values


def _indexed(directory: Directory, width: int, height: int) -> JpegIndex | None:
    colours = _COLOURS.get(directory.number(Tag.PHOTOMETRIC))
    head = _head(directory, colours)
    tile_width, tile_height = directory.number(Tag.TILE_WIDTH), directory.number(Tag.TILE_LENGTH)
    if colours is None or head is None or not _is_plain(directory) or not _fits(tile_width, tile_height):
        return None
    rows, columns = -(-height // tile_height), -(-width // tile_width)
    offsets, sizes = (directory.values.get(tag) for tag in (Tag.TILE_OFFSETS, Tag.TILE_COUNTS))
    if offsets is None or sizes is None or not len(offsets) == len(sizes) == rows * columns:
        return None
    return JpegIndex(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        offsets=offsets.astype(np.int64).reshape(rows, columns),
        sizes=sizes.astype(np.int64).reshape(rows, columns),
        head=head,
        colours=colours,
    )


def _is_plain(directory: Directory) -> bool:
    """Whether pixels are three interleaved 8-bit samples in JPEG."""
    return (
        directory.number(Tag.COMPRESSION) == _JPEG
        and directory.number(Tag.SAMPLES) == 3
        and directory.number(Tag.PLANAR, 1) == 1
        and directory.values.get(Tag.BITS, np.zeros(0)).tolist() == [8, 8, 8]
    )


def _fits(tile_width: int, tile_height: int) -> bool:
    return all(0 < edge <= _MAX_TILE_PX and edge % 2 == 0 for edge in (tile_width, tile_height))


def _head(directory: Directory, colours: str | None) -> bytes | None:
    """The start of a JPEG and the tables that its tiles share, None where these can't be understood."""
    shared = b""
    if Tag.JPEG_TABLES in directory.values:
        tables = directory.values[Tag.JPEG_TABLES].astype(np.uint8).tobytes()
        if len(tables) < 4 or tables[:2] != _START or tables[-2:] != _END:
            return None
        shared = tables[2:-2]
    return _START + (_IS_RGB if colours == "RGB" else b"") + shared
