"""The tiles of a grid from JPEG tiles, the same pixels as those of whole regions resized by area."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import Decoding
from pellucid.slides.jpeg_tiles import JpegTiles
from pellucid.slides.paint import Averaged, Decoded, Mosaic, paint

_CANVAS_BYTES = 16 << 20
"""Tiles of one call are put together this many bytes at a time: 4 x 4 tiles of 512 x 512 level-0 pixels take 12 MiB."""

Pixels = NDArray[np.uint8]


class TileMaker:
    """Makes grid tiles of an indexed scan. Its canvas is kept from call to call."""

    def __init__(self, tiles: JpegTiles) -> None:
        self._tiles = tiles
        self._canvas = np.empty(0, np.uint8)

    def make(self, coords: NDArray[np.int32], level0_px: int, pixels: Pixels, decoding: Decoding) -> NDArray[np.bool_]:
        """Write tiles to `pixels (m, tile_px, tile_px, 3)`; see `read_tiles_into`.

        Returns:
            `(m,) bool`, False where a stored tile couldn't be decoded; the pixels there are undefined.
        """
        if decoding is Decoding.SCALED_DCT:
            return self._resized(Decoded(self._tiles, 2), coords.astype(np.int64) // 2, level0_px // 2, pixels)
        return self._resized(Decoded(self._tiles), coords.astype(np.int64), level0_px, pixels)

    def region(self, x: int, y: int, width: int, height: int) -> Pixels | None:
        """A rectangle of level 0, None where a stored tile of it can't be decoded."""
        pixels = np.empty((1, height, width, 3), np.uint8)
        whole = paint(Decoded(self._tiles), np.array([[x, y]], np.int64), pixels)
        return pixels[0] if whole[0] else None

    def _resized(self, of: Decoded, corners: NDArray[np.int64], edge: int, pixels: Pixels) -> NDArray[np.bool_]:
        tile_px = pixels.shape[1]
        factor = _whole_factor(of, corners, edge, tile_px)
        if factor is not None:
            mosaic: Mosaic = of if factor == 1 else Averaged(of, factor)
            return paint(mosaic, corners // factor, pixels)
        whole = np.zeros(len(corners), np.bool_)
        at_once = max(1, _CANVAS_BYTES // (edge * edge * 3))
        for start in range(0, len(corners), at_once):
            part = slice(start, start + at_once)
            canvas = self._cleared(len(corners[part]), edge)
            whole[part] = paint(of, corners[part], canvas)
            for nth in np.flatnonzero(whole[part]):
                resize_into(canvas[nth], pixels[start + nth])
        return whole

    def _cleared(self, n_tiles: int, edge: int) -> Pixels:
        n_bytes = n_tiles * edge * edge * 3
        if len(self._canvas) < n_bytes:
            self._canvas = np.empty(n_bytes, np.uint8)
        return self._canvas[:n_bytes].reshape(n_tiles, edge, edge, 3)


def resize_into(tile: Pixels, pixels: Pixels) -> None:
    """Resize a square tile by area, or bilinearly where it is enlarged."""
    edge, tile_px = tile.shape[0], pixels.shape[0]
    if edge == tile_px:
        pixels[:] = tile
        return
    method = cv2.INTER_AREA if edge > tile_px else cv2.INTER_LINEAR
    cv2.resize(tile, (tile_px, tile_px), dst=pixels, interpolation=method)


def _whole_factor(of: Decoded, corners: NDArray[np.int64], edge: int, tile_px: int) -> int | None:
    """By what whole factor all of the tiles can be averaged before they are put together, None by none.

    The mean of factor x factor pixels is the same in a stored tile as in the grid's if no such square lies in two
    stored tiles, nor partly beyond the picture.
    """
    if edge % tile_px:
        return None
    factor = edge // tile_px
    if factor == 1:
        return 1
    inside = (corners >= 0).all() and (corners + edge <= [of.width, of.height]).all()
    divides = of.tile_width % factor == 0 and of.tile_height % factor == 0 and not (corners % factor).any()
    return factor if inside and divides else None
