"""Where tiles lie, as a LongNet slide encoder sees it: their order, grid positions and position vectors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.errors import TileCoordinatesUnfit
from pellucid.aggregators.longnet_config import LongNetConfig

_WAVELENGTH = 10_000.0


def rescaled_coords(coords: NDArray[np.int32], mpp_x: float, mpp_y: float, *, mpp: float = 0.5) -> NDArray[np.float64]:
    """Level-0 corners as pixels at the slide encoder's scale.

    Args:
        coords: `(n, 2) int32`, upper left corners (x, y) in level-0 pixels.
        mpp_x: um/px of level 0 along x.
        mpp_y: um/px of level 0 along y.
        mpp: the slide encoder's scale, um/px.
    """
    return coords * (np.array([mpp_x, mpp_y]) / mpp)


def checked_coords(coords: Tensor, n_tiles: int) -> NDArray[np.float64]:
    """Corners in double precision, `(n, 2) float64`.

    Raises:
        TileCoordinatesUnfit: the shape is not `(n_tiles, 2)`, the type can't hold pixels of a slide, or one is not
            finite.
    """
    if tuple(coords.shape) != (n_tiles, 2):
        raise TileCoordinatesUnfit(f"{n_tiles} tiles have coordinates of shape {tuple(coords.shape)}.")
    if coords.dtype in (torch.float16, torch.bfloat16):
        raise TileCoordinatesUnfit(f"Coordinates are {coords.dtype}, which can't tell tiles apart beyond a few mm.")
    corners: NDArray[np.float64] = coords.detach().cpu().numpy().astype(np.float64)
    if not np.isfinite(corners).all():
        raise TileCoordinatesUnfit("Coordinates hold NaN or infinite values.")
    return corners


def row_major(corners: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order in which tiles are read: by row, then by column; equal corners keep their order.

    A sampled head sees every r-th token, so the result depends on the order; this one is that of the tile grid, and of
    the tiling that Prov-GigaPath ships.
    """
    return np.lexsort((corners[:, 0], corners[:, 1]))


def grid_positions(corners: NDArray[np.float64], config: LongNetConfig) -> NDArray[np.int64]:
    """Column and row of each tile in the table of positions, `(n, 2) int64`.

    Raises:
        TileCoordinatesUnfit: a tile lies outside of the table, where a published table would be read at the wrong row.
    """
    cells: NDArray[np.int64] = np.floor(corners / config.tile_px).astype(np.int64)
    if cells.min() < 0 or cells.max() >= config.grids:
        low, high = corners.min(), corners.max()
        limit = config.grids * config.tile_px
        raise TileCoordinatesUnfit(f"Coordinates from {low:g} to {high:g} px leave the table of 0 to {limit} px.")
    return cells


def position_vectors(cells: NDArray[np.int64], dim: int) -> NDArray[np.float64]:
    """Sine-cosine vectors of grid positions, `(n, dim) float64`.

    The closed form of the published table: its first half encodes the row, its second the column, each as
    `sin(t w), cos(t w)` with `w_i = 10000 ** (-i / (dim / 4))`.
    """
    quarter = dim // 4
    frequencies = 1.0 / _WAVELENGTH ** (np.arange(quarter) / quarter)
    halves = [cells[:, axis, None] * frequencies for axis in (1, 0)]
    return np.concatenate([part for angles in halves for part in (np.sin(angles), np.cos(angles))], axis=1)
