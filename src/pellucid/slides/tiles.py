"""A grid's tiles as pixels."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import Decoding
from pellucid.domain.grid import TileGrid
from pellucid.slides.errors import RegionUnreadable, ScaledDecodingUnfit
from pellucid.slides.fast_reader import FastReader
from pellucid.slides.fast_tiles import resize_into
from pellucid.slides.protocol import Slide

_HALF_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileBatch:
    """Consecutive tiles of a grid.

    `index` is `(b,) int64` into the grid, `pixels` `(b, tile_px, tile_px, 3) uint8` RGB, `readable` `(b,) bool`. The
    pixels of an unreadable tile are zeros; nobody may take them for an image.
    """

    index: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    readable: NDArray[np.bool_]


def read_tiles(
    slide: Slide, grid: TileGrid, *, batch_size: int, decoding: Decoding = Decoding.FULL_AREA
) -> Iterator[TileBatch]:
    """Read a grid's tiles in its order, `batch_size` at a time, the last batch shorter.

    Tiles are what `read_tiles_into` makes of them. Memory holds one batch and one canvas.

    Args:
        slide: the slide the grid was laid on.
        grid: the tiles; any subset or order of a laid grid.
        batch_size: tiles in a batch.
        decoding: how pixels are made.

    Raises:
        ScaledDecodingUnfit: `decoding` isn't possible for this slide and grid.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    for start in range(0, len(grid), batch_size):
        index = np.arange(start, min(start + batch_size, len(grid)), dtype=np.int64)
        pixels = np.empty((len(index), grid.tile_px, grid.tile_px, 3), np.uint8)
        readable = read_tiles_into(slide, grid.coords[index], grid.level0_px, pixels, decoding=decoding)
        yield TileBatch(index=index, pixels=pixels, readable=readable)


def read_tiles_into(
    slide: Slide,
    coords: NDArray[np.int32],
    level0_px: int,
    pixels: NDArray[np.uint8],
    *,
    decoding: Decoding = Decoding.FULL_AREA,
) -> NDArray[np.bool_]:
    """Read tiles into memory that the caller provides.

    Tiles are always decoded from level 0 and resized by area. A stored level of the right um/px is not used: the
    scanner's own resampling and second compression made it, so tiles would depend on which levels a file happens to
    have. Where a tile is finer than level 0 (within the encoder's tolerance) it is enlarged bilinearly. Whichever
    reader reads, and whichever tiles one call reads, a tile's pixels are the same.

    The fast reader decodes each compressed tile once a call (where tiles have to be put together before they are
    resized, once for each 16 MiB of them): hand it the tiles of one of `superblocks`. What that can't decode cleanly
    OpenSlide reads. A tile that neither can decode is marked, and reading goes on.

    Args:
        slide: the slide.
        coords: `(m, 2)`, the upper left corner (x, y) of each tile in level-0 pixels.
        level0_px: a tile's edge in level-0 pixels.
        pixels: `(m, tile_px, tile_px, 3)`, C-contiguous, to write to; an unreadable tile's are zeros.
        decoding: how pixels are made.

    Returns:
        `(m,) bool`, whether each tile could be read.

    Raises:
        ScaledDecodingUnfit: `decoding` isn't possible for this slide and these tiles.
    """
    if pixels.dtype != np.uint8 or not pixels.flags.c_contiguous or pixels.shape[1:] != (*pixels.shape[1:2] * 2, 3):
        raise ValueError(f"pixels are {pixels.shape} {pixels.dtype}; they must be contiguous (m, px, px, 3) uint8")
    if len(coords) != len(pixels):
        raise ValueError(f"there are {len(coords)} tiles to read but room for {len(pixels)}")
    check_decoding(slide, level0_px, pixels.shape[1], decoding)
    readable = np.zeros(len(coords), np.bool_)
    if isinstance(slide, FastReader):
        readable = slide.make_tiles(coords, level0_px, pixels, decoding)
    if decoding is Decoding.FULL_AREA:
        _read_missing(slide, coords, level0_px, pixels, readable)
    pixels[~readable] = 0
    return readable


def check_decoding(slide: Slide, level0_px: int, tile_px: int, decoding: Decoding) -> None:
    """Check that a slide's tiles can be decoded as an encoder wants them.

    Args:
        slide: the slide.
        level0_px: a tile's edge in level-0 pixels.
        tile_px: a tile's edge as the encoder reads it.
        decoding: how it wants pixels made.

    Raises:
        ScaledDecodingUnfit: they can't.
    """
    if decoding is Decoding.FULL_AREA:
        return
    if not isinstance(slide, FastReader):
        raise ScaledDecodingUnfit(f"The scan is read by {slide.info.reader}, which can't decode at half scale.")
    ratio = level0_px / tile_px
    if abs(ratio / 2.0 - 1.0) > _HALF_TOLERANCE:
        raise ScaledDecodingUnfit(
            f"The scan is {ratio:.3g} times as fine as the encoder; for half scale it must be 1.9 to 2.1 times."
        )


def _read_missing(
    slide: Slide, coords: NDArray[np.int32], edge: int, pixels: NDArray[np.uint8], readable: NDArray[np.bool_]
) -> None:
    """Read tile by tile what isn't read yet: larger regions cost OpenSlide more, and it keeps what it decoded."""
    missing = np.flatnonzero(~readable)
    for nth in missing:
        x, y = (int(value) for value in coords[nth])
        with suppress(RegionUnreadable):
            resize_into(slide.read_region(x, y, edge, edge), pixels[nth])
            readable[nth] = True
    if len(missing) and isinstance(slide, FastReader):
        slide.release()
