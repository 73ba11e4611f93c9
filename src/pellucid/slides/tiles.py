"""A grid's tiles as batches of pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.slides.errors import RegionUnreadable
from pellucid.slides.protocol import Slide

_STRIP_PX = 4096 * 512
"""Level-0 pixels of neighbouring tiles decoded at once: each compressed block once, 8 MiB at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileBatch:
    """Consecutive tiles of a grid.

    `index` is `(b,) int64` into the grid, `pixels` `(b, tile_px, tile_px, 3) uint8` RGB, `readable` `(b,) bool`. The
    pixels of an unreadable tile are zeros; nobody may take them for an image.
    """

    index: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    readable: NDArray[np.bool_]


def read_tiles(slide: Slide, grid: TileGrid, *, batch_size: int) -> Iterator[TileBatch]:
    """Read a grid's tiles in its order, `batch_size` at a time, the last batch shorter.

    Tiles are always decoded from level 0 and resized by area. A stored level of the right um/px is not used: the
    scanner's own resampling and second compression made it, so tiles would depend on which levels a file happens to
    have. Where a tile is finer than level 0 (within the encoder's tolerance) it is enlarged bilinearly.

    Memory holds one batch and one strip. A tile that can't be decoded is marked, and reading goes on.

    Args:
        slide: the slide the grid was laid on.
        grid: the tiles; any subset or order of a laid grid.
        batch_size: tiles in a batch.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    for start in range(0, len(grid), batch_size):
        index = np.arange(start, min(start + batch_size, len(grid)), dtype=np.int64)
        pixels = np.zeros((len(index), grid.tile_px, grid.tile_px, 3), np.uint8)
        readable = np.zeros(len(index), np.bool_)
        for strip in _strips(grid.coords[index], grid.level0_px):
            _read_strip(slide, grid, index, strip, pixels, readable)
        yield TileBatch(index=index, pixels=pixels, readable=readable)


def _strips(coords: NDArray[np.int32], edge: int) -> Iterator[slice]:
    """Runs of horizontally adjacent tiles, each small enough to decode at once."""
    longest = max(1, _STRIP_PX // (edge * edge))
    start = 0
    for position in range(1, len(coords) + 1):
        if (
            position == len(coords)
            or position - start >= longest
            or coords[position, 1] != coords[position - 1, 1]
            or coords[position, 0] != coords[position - 1, 0] + edge
        ):
            yield slice(start, position)
            start = position


def _read_strip(
    slide: Slide,
    grid: TileGrid,
    index: NDArray[np.int64],
    strip: slice,
    pixels: NDArray[np.uint8],
    readable: NDArray[np.bool_],
) -> None:
    """Read a run of tiles with one call, or tile by tile where that fails."""
    edge, n_tiles = grid.level0_px, strip.stop - strip.start
    x, y = (int(value) for value in grid.coords[index[strip.start]])
    try:
        region = slide.read_region(x, y, edge * n_tiles, edge)
    except RegionUnreadable:
        if n_tiles > 1:
            for position in range(strip.start, strip.stop):
                _read_strip(slide, grid, index, slice(position, position + 1), pixels, readable)
        return
    for nth in range(n_tiles):
        pixels[strip.start + nth] = _resized(region[:, nth * edge : (nth + 1) * edge], grid.tile_px)
        readable[strip.start + nth] = True


def _resized(tile: NDArray[np.uint8], tile_px: int) -> NDArray[np.uint8]:
    edge = tile.shape[0]
    if edge == tile_px:
        return tile
    method = cv2.INTER_AREA if edge > tile_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(tile, (tile_px, tile_px), interpolation=method), np.uint8)
