"""The fast reader: JPEG-tiled TIFF and SVS, and how a scan is found fit for it."""

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pellucid.domain.encoder import Decoding
from pellucid.domain.scan import ScanInfo
from pellucid.slides.errors import RegionUnreadable
from pellucid.slides.fast_tiles import TileMaker
from pellucid.slides.jpeg_index import JpegIndex, index_level_0
from pellucid.slides.jpeg_tiles import JpegTiles
from pellucid.slides.protocol import Slide
from pellucid.slides.reader import OpenSlideReader

_VENDORS = {"aperio", "generic-tiff"}
"""Their level 0 is one tiled image, tile beside tile; others overlap tiles, place them freely or split the image."""
_N_CHECKED = 3


def fastest_reader(plain: OpenSlideReader) -> Slide:
    """The fast reader on top of an open slide where that decodes a few tiles to the same pixels, else the slide."""
    info = plain.info
    index = index_level_0(plain.path, info.width, info.height) if info.vendor in _VENDORS else None
    if index is None:
        return plain
    tiles = JpegTiles(plain.path, index)
    try:
        if _same_pixels(tiles, plain):
            return FastReader(plain, tiles)
    except BaseException:
        tiles.close()
        raise
    tiles.close()
    return plain


class FastReader:
    """A scan whose level 0 is read tile by tile; OpenSlide reads the other levels, and what doesn't decode cleanly.

    OpenSlide's handle and cache are released before tiles are read.
    """

    def __init__(self, plain: OpenSlideReader, tiles: JpegTiles) -> None:
        self._plain = plain
        self._tiles = tiles
        self._maker = TileMaker(tiles)
        versions = f"tiff-jpeg (simplejpeg {simplejpeg.__version__}) checked against {plain.info.reader}"
        self._info = replace(plain.info, reader=versions)

    @property
    def path(self) -> Path:
        """The file that was opened."""
        return self._plain.path

    @property
    def info(self) -> ScanInfo:
        """What the file says of itself."""
        return self._info

    def read_region(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> NDArray[np.uint8]:
        """Decode a region; see `Slide.read_region`."""
        if level == 0 and self._tiles.is_open and min(width, height) > 0:
            region = self._maker.region(x, y, width, height)
            if region is not None:
                return region
        return self._plain.read_region(x, y, width, height, level=level)

    def make_tiles(
        self, coords: NDArray[np.int32], level0_px: int, pixels: NDArray[np.uint8], decoding: Decoding
    ) -> NDArray[np.bool_]:
        """Write tiles to `pixels`; see `TileMaker.make`."""
        if not self._tiles.is_open:
            raise ValueError(f"{self.path} is closed")
        self._plain.release()
        return self._maker.make(coords, level0_px, pixels, decoding)

    def release(self) -> None:
        """Release what OpenSlide holds until it is needed again."""
        self._plain.release()

    def close(self) -> None:
        """Release the file; a read after it is an error."""
        self._tiles.close()
        self._plain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _same_pixels(tiles: JpegTiles, plain: OpenSlideReader) -> bool:
    """Whether both readers agree on some tiles, and differ on none of those that decode cleanly."""
    n_same = 0
    for row, column in _telling(tiles.index):
        pixels = tiles.decode(row, column)
        if pixels is None:
            continue
        x, y = column * tiles.index.tile_width, row * tiles.index.tile_height
        width, height = (min(pixels.shape[1], tiles.index.width - x), min(pixels.shape[0], tiles.index.height - y))
        try:
            expected = plain.read_region(x, y, width, height)
        except RegionUnreadable:
            return False
        if not np.array_equal(pixels[:height, :width], expected):
            return False
        n_same += 1
    return n_same > 0


def _telling(index: JpegIndex) -> list[tuple[int, int]]:
    """Row and column of the largest compressed tile of each third of the scan: tissue takes more bytes than glass."""
    order = np.arange(index.sizes.size)
    largest = (part[index.sizes.ravel()[part].argmax()] for part in np.array_split(order, _N_CHECKED) if len(part))
    return [(int(nth) // index.sizes.shape[1], int(nth) % index.sizes.shape[1]) for nth in largest]
