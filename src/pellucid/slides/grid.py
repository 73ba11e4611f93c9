"""Where the tiles of a scan lie."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import ScanInfo
from pellucid.slides.scale import require_scale
from pellucid.slides.tissue import TissueMap

MIN_TISSUE = 0.25
_ANY = 1e-6


def lay_grid(
    info: ScanInfo, tissue: TissueMap, *, tile_px: int, mpp: float, min_tissue: float = MIN_TISSUE
) -> TileGrid:
    """Lay whole, adjacent tiles from the scan's upper left corner and keep those with enough tissue, row by row.

    Ink is not tissue. What the overview could not show counts as tissue here, so that its tiles are read, and counted
    as unreadable if they are, and never quietly left out.

    Args:
        info: the scan, with a usable scale.
        tissue: its tissue.
        tile_px: a tile's edge as the encoder reads it.
        mpp: um/px at which the encoder reads it.
        min_tissue: the least share of a tile that is tissue.

    Raises:
        ScaleMissing, ScaleAbsurd, ScaleContradicted, ScaleTooCoarse: there is no usable scale.
    """
    edge = max(1, round(tile_px * mpp / require_scale(info).mpp))
    columns, rows = info.width // edge, info.height // edge
    fraction = _fractions(tissue.mask | tissue.unreadable, tissue.downsample, edge, columns, rows)
    row, column = np.nonzero(fraction >= max(min_tissue, _ANY))
    return TileGrid(
        coords=(np.stack([column, row], axis=1) * edge).astype(np.int32),
        tissue_fraction=fraction[row, column],
        level0_px=edge,
        tile_px=tile_px,
        mpp=mpp,
        columns=columns,
        rows=rows,
    )


def tile_shares(mask: NDArray[np.bool_], tissue: TissueMap, grid: TileGrid) -> NDArray[np.float32]:
    """The share of each tile that a mask covers, `(n_tiles,) float32`.

    Args:
        mask: `(h, w)`, of the size of the tissue map.
        tissue: the map.
        grid: tiles that `lay_grid` laid.
    """
    fraction = _fractions(mask, tissue.downsample, grid.level0_px, grid.columns, grid.rows)
    column, row = (grid.coords // grid.level0_px).T
    return np.asarray(fraction[row, column], np.float32)


def _fractions(mask: NDArray[np.bool_], downsample: float, edge: int, columns: int, rows: int) -> NDArray[np.float32]:
    """The share of each tile that the mask covers, `(rows, columns)`, exact to parts of a mask pixel."""
    summed = cv2.integral(mask.astype(np.uint8)).astype(np.float64)
    y = np.arange(rows + 1) * edge / downsample
    x = np.arange(columns + 1) * edge / downsample
    corners = _between(_between(summed, y).T, x).T
    covered = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    return np.clip(covered / (edge / downsample) ** 2, 0.0, 1.0).astype(np.float32)


def _between(summed: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of `summed` at fractional positions, linear in between and constant beyond the end."""
    at = np.minimum(at, len(summed) - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, len(summed) - 1)
    part = (at - low)[:, None]
    return np.asarray(summed[low] * (1.0 - part) + summed[high] * part)
