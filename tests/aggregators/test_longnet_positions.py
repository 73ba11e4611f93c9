"""Positions are those of the published table, and coordinates that would read it wrongly are refused."""

import numpy as np
import pytest
import torch

from pellucid.aggregators import LongNetConfig, rescaled_coords
from pellucid.aggregators.errors import TileCoordinatesUnfit
from pellucid.aggregators.longnet_positions import checked_coords, grid_positions, position_vectors, row_major


def published_table(dim, grids):
    """The fixed table by its definition: row 0 for the class token, cell (x, y) in row x * grids + y + 1."""
    table = np.zeros((grids * grids + 1, dim))
    quarter = dim // 4
    for x in range(grids):
        for y in range(grids):
            for i in range(quarter):
                omega = 1.0 / 10000 ** (i / (dim / 4))
                row = table[x * grids + y + 1]
                row[i], row[quarter + i] = np.sin(y * omega), np.cos(y * omega)
                row[2 * quarter + i], row[3 * quarter + i] = np.sin(x * omega), np.cos(x * omega)
    return table


def test_closed_form_is_the_table_without_any_difference():
    config = LongNetConfig(dim=32, heads=4, grids=40)
    corners = np.random.default_rng(0).uniform(0, 40 * 256, (500, 2))
    cells = grid_positions(corners, config)
    rows = np.floor(corners[:, 0] / 256) * 40 + np.floor(corners[:, 1] / 256) + 1
    wanted = published_table(32, 40)[rows.astype(int)].astype(np.float32)
    assert np.array_equal(position_vectors(cells, 32).astype(np.float32), wanted)


def test_far_corner_of_the_full_table_in_full_width():
    cells = grid_positions(np.array([[255_999.0, 100.0]]), LongNetConfig())
    assert cells.tolist() == [[999, 0]]
    vector = position_vectors(cells, 768)[0]
    assert vector[:192].tolist() == [0.0] * 192
    assert vector[192:384].tolist() == [1.0] * 192
    assert vector[384] == pytest.approx(np.sin(999.0))
    assert vector[-1] == pytest.approx(np.cos(999.0 / 10000 ** (191 / 192)))


@pytest.mark.parametrize("corner", [(256_000.0, 0.0), (0.0, 256_000.0), (-1.0, 0.0)])
def test_tile_outside_of_the_table_is_refused(corner):
    with pytest.raises(TileCoordinatesUnfit, match="leave the table"):
        grid_positions(np.array([corner, (0.0, 0.0)]), LongNetConfig())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_coordinates_are_refused(dtype):
    with pytest.raises(TileCoordinatesUnfit, match="can't tell tiles apart"):
        checked_coords(torch.zeros(3, 2, dtype=dtype), 3)


@pytest.mark.parametrize("coords", [torch.zeros(2, 2), torch.zeros(3, 3), torch.full((3, 2), float("nan"))])
def test_misshapen_or_unfinite_coordinates_are_refused(coords):
    with pytest.raises(TileCoordinatesUnfit):
        checked_coords(coords, 3)


def test_rows_come_before_columns():
    corners = np.array([[512.0, 0.0], [0.0, 256.0], [0.0, 0.0], [256.0, 0.0]])
    assert row_major(corners).tolist() == [2, 3, 0, 1]


def test_level_0_corners_are_rescaled_in_each_direction():
    scaled = rescaled_coords(np.array([[1000, 2000]], dtype=np.int32), 0.25, 0.26)
    assert scaled.tolist() == [[500.0, 1040.0]]
