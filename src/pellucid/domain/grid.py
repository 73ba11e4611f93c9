"""The tile grid of a scan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileGrid:
    """Where a scan's tiles lie.

    `coords` is `(n_tiles, 2) int32`, the upper left corner (x, y) of each tile in level-0 pixels, row-major.
    `level0_px` is a tile's edge in level-0 pixels, `tile_px` its edge as the encoder reads it, `mpp` the um/px at
    `tile_px`. `tissue_fraction` is `(n_tiles,) float32`, the share of each tile that is tissue.
    `columns` and `rows` span the whole scan, tiles without tissue included.
    """

    coords: NDArray[np.int32]
    tissue_fraction: NDArray[np.float32]
    level0_px: int
    tile_px: int
    mpp: float
    columns: int
    rows: int

    def __len__(self) -> int:
        return len(self.coords)
