"""The grid and the tiles: deterministic, from level 0, honest about what can't be read."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.slides import find_tissue, lay_grid, open_slide, read_tiles
from pellucid.slides.grid import _fractions


def grid_of(slide, **kwargs):
    return lay_grid(slide.info, find_tissue(slide), **{"tile_px": 224, "mpp": 0.5} | kwargs)


def read_all(slide, grid, batch_size=7):
    batches = list(read_tiles(slide, grid, batch_size=batch_size))
    return tuple(
        np.concatenate([getattr(batch, name) for batch in batches]) for name in ("index", "pixels", "readable")
    )


def test_grid_covers_tissue_and_leaves_glass(section):
    with open_slide(section) as slide:
        grid = grid_of(slide, tile_px=256)
    assert (grid.columns, grid.rows, grid.level0_px) == (6, 5, 256)
    assert len(grid) == 25
    assert grid.coords.dtype == np.int32
    assert grid.coords[:, 0].min() == 256
    assert grid.tissue_fraction.min() > 0.9
    order = grid.coords[:, 1].astype(np.int64) * 10**6 + grid.coords[:, 0]
    assert (np.diff(order) > 0).all()


def test_grid_in_physical_units(section):
    with open_slide(section) as slide:
        assert grid_of(slide, tile_px=128, mpp=1.0).level0_px == 256
        assert grid_of(slide, tile_px=256, mpp=0.25).level0_px == 128
    with open_slide(section, mpp=0.55) as slide:
        assert grid_of(slide, tile_px=224, mpp=1.1).level0_px == 448


def test_a_slide_smaller_than_a_tile_has_no_tile(tmp_path, slide_file, tissue_picture):
    with open_slide(slide_file(tmp_path / "a.tif", tissue_picture(200), mpp=0.5)) as slide:
        grid = grid_of(slide)
        assert len(grid) == 0
        assert list(read_tiles(slide, grid, batch_size=4)) == []


@given(st.integers(1, 20), st.integers(1, 20), st.floats(1.0, 9.0), st.integers(4, 30), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_tissue_fraction_is_the_covered_area(width, height, downsample, edge, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    columns, rows = int(width * downsample) // edge, int(height * downsample) // edge
    fractions = _fractions(mask, downsample, edge, columns, rows)

    def overlap(start, n_px):
        left = np.maximum(np.arange(n_px) * downsample, start)
        right = np.minimum(np.arange(1, n_px + 1) * downsample, start + edge)
        return np.clip(right - left, 0, None)

    for row in range(rows):
        for column in range(columns):
            covered = overlap(row * edge, height) @ mask @ overlap(column * edge, width)
            assert fractions[row, column] == pytest.approx(covered / edge**2, abs=1e-5)


def test_tiles_are_level_0_resized_by_area(section):
    with open_slide(section) as slide:
        grid = grid_of(slide, tile_px=100, mpp=1.1)
        index, pixels, readable = read_all(slide, grid)
        assert readable.all()
        assert index.tolist() == list(range(len(grid)))
        for nth in (0, len(grid) // 2, len(grid) - 1):
            x, y = (int(value) for value in grid.coords[nth])
            tile = slide.read_region(x, y, grid.level0_px, grid.level0_px)
            assert np.array_equal(pixels[nth], cv2.resize(tile, (100, 100), interpolation=cv2.INTER_AREA))


def test_stored_levels_don_t_change_tiles(tmp_path, slide_file, tissue_picture):
    picture, pixels = tissue_picture(1024), []
    for levels in (1, 2):
        with open_slide(slide_file(tmp_path / f"{levels}.tif", picture, mpp=0.25, levels=levels)) as slide:
            grid = replace(grid_of(slide, tile_px=64, mpp=1.0), coords=np.array([[0, 0], [256, 512]], np.int32))
            pixels.append(read_all(slide, replace(grid, tissue_fraction=np.ones(2, np.float32)))[1])
    assert np.array_equal(*pixels)


@pytest.mark.parametrize("batch_size", [1, 3, 32, 1000])
def test_batches_don_t_change_tiles(section, batch_size):
    with open_slide(section) as slide:
        grid = grid_of(slide)
        expected = read_all(slide, grid)
        for batch in read_tiles(slide, grid, batch_size=batch_size):
            assert len(batch.index) <= batch_size
            assert batch.pixels.flags.c_contiguous
            assert batch.pixels.dtype == np.uint8
        assert all(np.array_equal(*pair) for pair in zip(expected, read_all(slide, grid, batch_size), strict=True))


def test_any_order_of_tiles_gives_the_same_tiles(section):
    with open_slide(section) as slide:
        grid = grid_of(slide)
        order = np.random.default_rng(1).permutation(len(grid))[:9]
        mixed = replace(grid, coords=grid.coords[order], tissue_fraction=grid.tissue_fraction[order])
        assert np.array_equal(read_all(slide, mixed)[1], read_all(slide, grid)[1][order])


@pytest.mark.parametrize("spoil", [(7,), tuple(range(0, 25, 3))])
def test_corrupt_tiles_are_counted_not_painted_white(tmp_path, slide_file, tissue_picture, spoil):
    whole = slide_file(tmp_path / "whole.tif", tissue_picture(1280), mpp=0.5)
    path = slide_file(tmp_path / "spoilt.tif", tissue_picture(1280), mpp=0.5, spoil=spoil)
    with open_slide(path) as slide, open_slide(whole) as sound:
        grid = grid_of(slide, tile_px=256)
        assert len(grid) == 25
        _, pixels, readable = read_all(slide, grid)
        expected = read_all(sound, grid)[1]
    assert np.flatnonzero(~readable).tolist() == list(spoil)
    assert (pixels[~readable] == 0).all()
    assert np.array_equal(pixels[readable], expected[readable])


@pytest.mark.real
def test_a_corrupt_tile_in_a_real_svs(tmp_path, real_slides):
    data = bytearray((real_slides / "CMU-1-Small-Region.svs").read_bytes())
    start = data.index(b"\xff\xd8\xff", 900_000)
    data[start : start + 600] = bytes(600)
    path = tmp_path / "spoilt.svs"
    path.write_bytes(data)
    with open_slide(path) as slide:
        grid = grid_of(slide)
        readable = read_all(slide, grid)[2]
    with open_slide(real_slides / "CMU-1-Small-Region.svs") as slide:
        assert read_all(slide, grid_of(slide))[2].all()
    assert 1 <= np.count_nonzero(~readable) <= 4


def test_batch_size_must_be_positive(section):
    with open_slide(section) as slide, pytest.raises(ValueError, match="batch_size"):
        next(read_tiles(slide, grid_of(slide), batch_size=0))
