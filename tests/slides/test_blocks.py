"""Superblocks: every tile once, neighbours together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.domain.grid import TileGrid
from pellucid.slides import superblocks


def grid_of(cells, edge):
    cells = np.array(sorted(cells, key=lambda cell: cell[::-1]), np.int32).reshape(-1, 2)
    return TileGrid(
        coords=cells * edge,
        tissue_fraction=np.ones(len(cells), np.float32),
        level0_px=edge,
        tile_px=edge,
        mpp=0.5,
        columns=100,
        rows=100,
    )


@given(st.sets(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=120), st.integers(1, 600))
def test_every_tile_is_in_one_block_of_neighbours(cells, edge):
    grid = grid_of(cells, edge)
    blocks = superblocks(grid)
    assert sorted(index for block in blocks for index in block) == list(range(len(grid)))
    for block in blocks:
        assert block.dtype == np.int64
        assert 1 <= len(block) <= 16
        assert (np.diff(block) > 0).all()
        assert (np.ptp(grid.coords[block], axis=0) <= 3 * edge).all()


def test_a_full_grid_has_full_blocks_row_by_row():
    grid = grid_of([(x, y) for x in range(8) for y in range(8)], 448)
    blocks = superblocks(grid)
    assert [len(block) for block in blocks] == [16] * 4
    assert [grid.coords[block[0]].tolist() for block in blocks] == [[0, 0], [1792, 0], [0, 1792], [1792, 1792]]


@pytest.mark.parametrize("n_tiles", [0, 50])
def test_tiles_at_one_place_don_t_make_a_block_too_large(n_tiles):
    blocks = superblocks(grid_of([(0, 0)] * n_tiles, 256))
    assert [len(block) for block in blocks] == [16, 16, 16, 2][: len(blocks)]
    assert sum(len(block) for block in blocks) == n_tiles
