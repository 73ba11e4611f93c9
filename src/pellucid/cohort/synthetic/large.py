"""Slides as large as real ones at the cost of a small one, by repeating encoded tiles."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.errors import SynthesisInvalid
from pellucid.cohort.synthetic.kinds import MARK, ScanKind
from pellucid.cohort.synthetic.plan import ScanPlan
from pellucid.cohort.synthetic.scans import draw_scan
from pellucid.cohort.synthetic.stain import SCANNER_PROFILES
from pellucid.cohort.synthetic.tiff import TILE_PX, Level, ScanHeader, encode, encoded_tiles, write_scan
from pellucid.domain.cohort import Split

_PATTERN_TILES = 16
_SCANNER = "SYN-A"
_DOWNSAMPLES = (1, 4, 16)


def write_large_slide(
    path: Path, width: int, height: int, seed: int = 0, *, mpp: float = 0.5, tissue_share: float = 0.6
) -> Path:
    """Write a large SVS for benchmarks: one drawn section repeated, within a margin of glass.

    Only 4096 x 4096 px are drawn and encoded; the rest are copies of encoded tiles, so that time and memory grow with
    the number of tiles and hardly with that of pixels.

    Args:
        path: `.svs`.
        width: of level 0, pixels.
        height: of level 0, pixels.
        seed: of the drawn section.
        mpp: um/px to draw at and to state, 0.5 or 0.25.
        tissue_share: the share of the area within the margin, 0..1.

    Raises:
        SynthesisInvalid: the slide would be smaller than 2048 px, or `mpp` is another.
        StorageFull: the disk is full.
    """
    if min(width, height) < 2048 or mpp not in (0.5, 0.25) or not 0.0 <= tissue_share <= 1.0:
        raise SynthesisInvalid(
            f"A slide of {width} x {height} px at {mpp} um/px, {tissue_share} of it tissue, can't be made:"
            " at least 2048 px a side, 0.5 or 0.25 um/px, a share of 0 to 1."
        )
    quality = SCANNER_PROFILES[_SCANNER].jpeg_quality
    pattern = _pattern(seed, mpp)
    levels = [_level(pattern, width, height, factor, quality, tissue_share) for factor in _DOWNSAMPLES]
    header = ScanHeader(title=f"{MARK} large scan", scanner=_SCANNER, mpp=mpp, objective=10.0 / mpp, quality=quality)
    write_scan(path, levels, _thumbnail(pattern, width, height, tissue_share), header)
    return path


def _pattern(seed: int, mpp: float) -> NDArray[np.uint8]:
    """The inside of a section, `_PATTERN_TILES` tiles a side."""
    side = _PATTERN_TILES * TILE_PX
    plan = ScanPlan(
        name="large",
        case="C0000",
        specimen="C0000-A",
        block="A1",
        slide="C0000-A-A1-1",
        patient="P0000",
        split=Split.TEST,
        label=1,
        site="SYN-NORTH",
        specimen_type="resection",
        kind=ScanKind.CLEAR,
        strength=0.5,
        layout=0,
        scanner=_SCANNER,
        mpp=mpp,
        side_px=side,
        generic_tiff=False,
        label_page=False,
    )
    return draw_scan(plan, seed).picture


def _level(
    pattern: NDArray[np.uint8], width: int, height: int, factor: int, quality: int, tissue_share: float
) -> Level:
    side = pattern.shape[0] // factor
    small = pattern if factor == 1 else cv2.resize(pattern, (side, side), interpolation=cv2.INTER_AREA)
    tiles = encoded_tiles(np.asarray(small), quality)
    period = side // TILE_PX
    glass = encode(np.full((TILE_PX, TILE_PX, 3), pattern[0, 0], np.uint8), quality)
    columns, rows = -(-(width // factor) // TILE_PX), -(-(height // factor) // TILE_PX)
    margin_x, margin_y = (_margin(n, factor, tissue_share) for n in (width, height))

    def repeated() -> Iterator[bytes]:
        for row, column in itertools.product(range(rows), range(columns)):
            inside = margin_x <= column < columns - margin_x and margin_y <= row < rows - margin_y
            yield tiles[row % period * period + column % period] if inside else glass

    return Level(width // factor, height // factor, repeated)


def _margin(length: int, factor: int, tissue_share: float) -> int:
    """Tiles of glass on each side, the same place on the glass at every level."""
    coarsest = TILE_PX * _DOWNSAMPLES[-1]
    margin = round(length * (1.0 - tissue_share**0.5) / 2.0 / coarsest)
    return int(margin * _DOWNSAMPLES[-1] // factor)


def _thumbnail(pattern: NDArray[np.uint8], width: int, height: int, tissue_share: float) -> NDArray[np.uint8]:
    scale = 768 / max(width, height)
    columns, rows = max(int(width * scale), 1), max(int(height * scale), 1)
    picture = np.full((rows, columns, 3), pattern[0, 0], np.uint8)
    side = max(int(pattern.shape[0] * scale), 1)
    tile = cv2.resize(pattern, (side, side), interpolation=cv2.INTER_AREA)
    copies = np.tile(tile, (-(-rows // side), -(-columns // side), 1))
    left, top = (int(_margin(n, 1, tissue_share) * TILE_PX * scale) for n in (width, height))
    picture[top : rows - top, left : columns - left] = copies[top : rows - top, left : columns - left]
    return picture
