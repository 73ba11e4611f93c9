"""Which tiles are tumour, where the cohort is synthetic and that is known."""

import numpy as np
from numpy.typing import NDArray

from pellucid.cohort import TruthMissing, truth_mask
from pellucid.domain.cohort import Cohort
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale
from pellucid.training.survey import SurveyedScan
from pellucid.training.tiles import Truth

_TUMOUR = 2


def truth_of(cohort: Cohort) -> Truth:
    """How to look up the tumour of a cohort's scans: by the masks of a synthetic cohort, and not at all otherwise."""
    return _planted if cohort.synthetic else _unknown


def tumour_share(mask: NDArray[np.uint8], um_per_cell: float, grid: TileGrid, scale: Scale) -> NDArray[np.float32]:
    """The share of each tile's tissue that is tumour.

    Args:
        mask: `(rows, columns) uint8`: 0 glass, 1 tissue, 2 tumour; its first cell starts where the scan does.
        um_per_cell: side of a cell.
        grid: the tiles.
        scale: um/px of level 0.

    Returns:
        `(n_tiles,) float32`; 0 for a tile without tissue.
    """
    tumour = _cells_of_tiles(mask == _TUMOUR, um_per_cell, grid, scale)
    tissue = _cells_of_tiles(mask > 0, um_per_cell, grid, scale)
    return (tumour / np.maximum(tissue, 1)).astype(np.float32)


def _planted(scan: SurveyedScan) -> NDArray[np.float32] | None:
    folder = scan.entry.path.parent.parent
    try:
        mask, um_per_cell = truth_mask(folder, scan.entry.path)
    except TruthMissing:
        # a synthetic slide on its own is as good as any slide; the record of the training counts its tiles as unknown
        return None
    return tumour_share(mask, um_per_cell, scan.grid, scan.scale)


def _unknown(_scan: SurveyedScan) -> NDArray[np.float32] | None:
    return None


def _cells_of_tiles(cells: NDArray[np.bool_], um_per_cell: float, grid: TileGrid, scale: Scale) -> NDArray[np.int64]:
    """How many of `cells` lie in each tile, `(n_tiles,)`, from sums over all rectangles that start at the corner."""
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1), dtype=np.int64)
    sums[1:, 1:] = cells.cumsum(axis=0).cumsum(axis=1)
    cells_per_px = np.array([scale.mpp_x, scale.mpp_y]) / um_per_cell
    limit = np.array([cells.shape[1], cells.shape[0]])
    start = np.clip(np.rint(grid.coords * cells_per_px), 0, limit).astype(np.int64)
    stop = np.clip(np.rint((grid.coords + grid.level0_px) * cells_per_px), 0, limit).astype(np.int64)
    (x0, y0), (x1, y1) = start.T, stop.T
    counted: NDArray[np.int64] = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return counted
