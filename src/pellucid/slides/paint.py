"""Put stored tiles together to the tiles of a grid, decoding each stored tile once."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.slides.jpeg_tiles import JpegTiles

_WHITE = 255


class Mosaic(Protocol):
    """A picture in stored tiles, all sizes in its own pixels."""

    @property
    def width(self) -> int:
        """The picture's width."""
        ...

    @property
    def height(self) -> int:
        """The picture's height."""
        ...

    @property
    def tile_width(self) -> int:
        """A stored tile's width."""
        ...

    @property
    def tile_height(self) -> int:
        """A stored tile's height."""
        ...

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """A stored tile, valid until the next call; None where it can't be decoded."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """The picture as the decoder makes it, at full (`scale` 1) or half size (2)."""

    tiles: JpegTiles
    scale: int = 1

    @property
    def width(self) -> int:
        """Pixels of which every part lies in the scan."""
        return self.tiles.index.width // self.scale

    @property
    def height(self) -> int:
        """Pixels of which every part lies in the scan."""
        return self.tiles.index.height // self.scale

    @property
    def tile_width(self) -> int:
        """A stored tile's width at this scale."""
        return self.tiles.index.tile_width // self.scale

    @property
    def tile_height(self) -> int:
        """A stored tile's height at this scale."""
        return self.tiles.index.tile_height // self.scale

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """See `JpegTiles.decode`."""
        return self.tiles.decode(row, column, scale=self.scale)


class Averaged:
    """A picture reduced by a whole factor that divides its stored tiles: the mean of each factor x factor pixels."""

    def __init__(self, of: Decoded, factor: int) -> None:
        self._of = of
        self.width, self.height = of.width // factor, of.height // factor
        self.tile_width, self.tile_height = of.tile_width // factor, of.tile_height // factor
        self._pixels = np.empty((self.tile_height, self.tile_width, 3), np.uint8)

    def decode(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """A stored tile, reduced."""
        tile = self._of.decode(row, column)
        if tile is None:
            return None
        cv2.resize(tile, (self.tile_width, self.tile_height), dst=self._pixels, interpolation=cv2.INTER_AREA)
        return self._pixels


def paint(mosaic: Mosaic, corners: NDArray[np.int64], pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Fill rectangles of a mosaic, white beyond the picture.

    Args:
        mosaic: the picture.
        corners: `(m, 2)`, the upper left corner (x, y) of each rectangle.
        pixels: `(m, h, w, 3)` to write to.

    Returns:
        `(m,) bool`, False where a stored tile of the rectangle couldn't be decoded; its pixels are then undefined.
    """
    height, width = pixels.shape[1:3]
    pixels[_reach_beyond(mosaic, corners, width, height)] = _WHITE
    whole = np.ones(len(corners), np.bool_)
    places = [(int(x), int(y)) for x, y in corners]
    for (row, column), users in sorted(_users(mosaic, places, width, height).items()):
        tile = mosaic.decode(row, column)
        if tile is None:
            whole[users] = False
            continue
        left, top = column * mosaic.tile_width, row * mosaic.tile_height
        # What a stored tile holds beyond the picture is the encoder's filling.
        right, bottom = min(left + mosaic.tile_width, mosaic.width), min(top + mosaic.tile_height, mosaic.height)
        for nth in users:
            x, y = places[nth]
            x0, x1, y0, y1 = max(x, left), min(x + width, right), max(y, top), min(y + height, bottom)
            pixels[nth, y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
    return whole


def _reach_beyond(mosaic: Mosaic, corners: NDArray[np.int64], width: int, height: int) -> NDArray[np.bool_]:
    last = np.array([mosaic.width - width, mosaic.height - height])
    return np.asarray(((corners < 0) | (corners > last)).any(axis=1))


def _users(mosaic: Mosaic, places: list[tuple[int, int]], width: int, height: int) -> dict[tuple[int, int], list[int]]:
    """Which rectangles each stored tile is part of."""
    users: dict[tuple[int, int], list[int]] = defaultdict(list)
    for nth, (x, y) in enumerate(places):
        columns = _touched(x, x + width, mosaic.width, mosaic.tile_width)
        for row in _touched(y, y + height, mosaic.height, mosaic.tile_height):
            for column in columns:
                users[row, column].append(nth)
    return users


def _touched(start: int, end: int, length: int, tile: int) -> range:
    """Which stored tiles of a picture's row or column an interval touches."""
    first, last = max(start, 0), min(end, length)
    return range(first // tile, -(-last // tile)) if first < last else range(0)
