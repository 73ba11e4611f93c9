"""Write scans as pyramidal, JPEG-tiled TIFF: Aperio-like SVS, or generic TIFF. Same pixels, same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pellucid.cohort.synthetic.container import Page, TiffFile
from pellucid.cohort.synthetic.kinds import MARK
from pellucid.core.files import atomic_path

TILE_PX = 256
_REDUCED = 1
_MACRO = 9
_CLASSIC_PIXELS = 2_000_000_000
"""Up to here a file stays below 4 GB even at two bytes a pixel."""
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHeader:
    """What the file says of itself. `mpp` or `objective` None: not stated. `title` is shown on label and macro."""

    title: str
    scanner: str
    mpp: float | None
    objective: float | None
    quality: int
    label_page: bool = False
    generic: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the pyramid: its size and its encoded tiles, row by row."""

    width: int
    height: int
    tiles: Callable[[], Iterator[bytes]]


def encode(picture: Picture, quality: int) -> bytes:
    """JPEG (YCbCr, 4:2:0) of an RGB picture."""
    data: bytes = simplejpeg.encode_jpeg(
        picture, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
    )
    return data


def encoded_tiles(picture: Picture, quality: int) -> list[bytes]:
    """The JPEG tiles of a picture `(height, width, 3)`, row by row; edge tiles repeat the edge."""
    height, width = picture.shape[:2]
    down, right = -height % TILE_PX, -width % TILE_PX
    if down or right:
        picture = np.asarray(cv2.copyMakeBorder(picture, 0, down, 0, right, cv2.BORDER_REPLICATE))
    return [
        encode(np.ascontiguousarray(picture[y : y + TILE_PX, x : x + TILE_PX]), quality)
        for y in range(0, height, TILE_PX)
        for x in range(0, width, TILE_PX)
    ]


def pyramid(picture: Picture, quality: int, spoil: Callable[[list[bytes]], list[bytes]] | None = None) -> list[Level]:
    """Levels 1, 4 and, where the picture is large enough, 16 of a picture.

    Args:
        picture: `(height, width, 3) uint8`.
        quality: of the JPEG tiles.
        spoil: changes the encoded tiles of level 0, to make a corrupt scan.
    """
    levels: list[Level] = []
    while True:
        tiles = encoded_tiles(picture, quality)
        if spoil is not None and not levels:
            tiles = spoil(tiles)
        height, width = picture.shape[:2]
        levels.append(Level(width, height, partial(iter, tiles)))
        if len(levels) == 3 or min(height, width) < 4 * TILE_PX:
            return levels
        picture = np.asarray(cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA))


def write_scan(path: Path, levels: list[Level], thumbnail: Picture, header: ScanHeader) -> None:
    """Write a scan, whole or not at all.

    An SVS file has, as Aperio's do, level 0, a thumbnail in one strip, the other levels, and a label and a macro image
    where `header` asks for them. The generic file has the levels alone and states um/px as its resolution.

    Args:
        path: `.svs` or `.tif`.
        levels: full resolution first.
        thumbnail: `(height, width, 3) uint8`, for SVS.
        header: what the file says of itself.
    """
    pixels = sum(level.width * level.height for level in levels)
    with atomic_path(path) as part, part.open("wb") as file:
        tiff = TiffFile(file, big=pixels > _CLASSIC_PIXELS)
        for page in _generic_pages(levels, header) if header.generic else _aperio_pages(levels, thumbnail, header):
            tiff.append(page)


def _generic_pages(levels: list[Level], header: ScanHeader) -> Iterator[Page]:
    for index, level in enumerate(levels):
        yield Page(
            width=level.width,
            height=level.height,
            parts=level.tiles(),
            tile_px=TILE_PX,
            description=f"{MARK} scan, not a patient" if index == 0 else None,
            software=MARK,
            device=header.scanner,
            subfile=_REDUCED if index else 0,
            mpp=None if header.mpp is None else header.mpp * levels[0].width / level.width,
        )


def _aperio_pages(levels: list[Level], thumbnail: Picture, header: ScanHeader) -> Iterator[Page]:
    first, *rest = levels
    yield _tiled(first, _aperio_description(first, first, header))
    yield _strip(thumbnail, header.quality, _strip_description(first, thumbnail, header))
    for level in rest:
        yield _tiled(level, _aperio_description(first, level, header))
    if header.label_page:
        macro = _macro(header.title, thumbnail)
        for name, picture, subfile in (("label", _label(header.title), _REDUCED), ("macro", macro, _MACRO)):
            height, width = picture.shape[:2]
            description = f"Aperio Image Library {MARK}\r\n{name} {width}x{height}"
            yield _strip(picture, header.quality, description, subfile)


def _tiled(level: Level, description: str) -> Page:
    return Page(
        width=level.width,
        height=level.height,
        parts=level.tiles(),
        tile_px=TILE_PX,
        description=description,
        software=MARK,
    )


def _strip(picture: Picture, quality: int, description: str, subfile: int = 0) -> Page:
    height, width = picture.shape[:2]
    parts = [encode(np.ascontiguousarray(picture), quality)]
    return Page(
        width=width,
        height=height,
        parts=parts,
        tile_px=None,
        description=description,
        software=MARK,
        subfile=subfile,
    )


def _aperio_description(first: Level, level: Level, header: ScanHeader) -> str:
    size = f"{first.width}x{first.height} [0,0 {first.width}x{first.height}] ({TILE_PX}x{TILE_PX})"
    if level is not first:
        size += f" -> {level.width}x{level.height}"
    return f"Aperio Image Library {MARK} v1\r\n{size} JPEG/RGB Q={header.quality}{_aperio_fields(header)}"


def _strip_description(first: Level, thumbnail: Picture, header: ScanHeader) -> str:
    height, width = thumbnail.shape[:2]
    return (
        f"Aperio Image Library {MARK} v1\r\n{first.width}x{first.height} -> {width}x{height} - {_aperio_fields(header)}"
    )


def _aperio_fields(header: ScanHeader) -> str:
    fields = [f"ScanScope ID = {header.scanner}", f"Title = {MARK} scan, not a patient"]
    if header.mpp is not None:
        fields.insert(0, f"MPP = {header.mpp:.4f}")
    if header.objective is not None:
        fields.insert(0, f"AppMag = {header.objective:g}")
    return "".join(f"|{item}" for item in fields)


def _label(title: str) -> Picture:
    """A made-up label with the kind of text that must never leave a slide file."""
    picture = np.full((420, 400, 3), (250, 248, 240), np.uint8)
    for line, text in enumerate(("SYNTHETIC LABEL", "FAKE^NAME", "BORN 1900-01-01", title[:18])):
        cv2.putText(picture, text, (14, 70 + 90 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (20, 20, 20), 2, cv2.LINE_AA)
    return picture


def _macro(title: str, thumbnail: Picture) -> Picture:
    """A glass slide seen from afar: its label and its tissue."""
    picture = np.full((432, 1280, 3), (236, 236, 232), np.uint8)
    picture[6:426, 6:406] = _label(title)
    picture[16:416, 640:1040] = cv2.resize(thumbnail, (400, 400), interpolation=cv2.INTER_AREA)
    return picture
