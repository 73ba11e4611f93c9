from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.reports import HeatmapInvalid, render_attention_sd, render_heatmap, render_icon, write_png
from pellucid.reports.heatmap import cividis, palette_stops


def blank(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def attention(*weights: float) -> np.ndarray:
    values = np.array(weights, np.float64)
    return (values / values.sum()).astype(np.float32)


def test_each_tile_covers_exactly_its_place_and_the_overhang_is_cut():
    # 1000 x 600 level-0 px drawn on 100 x 60; tiles of 256 px, so the fourth column overhangs by 24 px.
    coords = np.array([(0, 0), (768, 0), (256, 512)], np.int32)
    overlay = render_heatmap(blank(60, 100), coords, 256, 1000, 600, attention(1, 1, 2)).overlay
    opaque = overlay[..., 3] == 255
    expected = np.zeros((60, 100), bool)
    expected[0:26, 0:26] = True  # 0 to 25.6 px: the centre of pixel 25 lies at 25.5, inside
    expected[0:26, 77:100] = True  # 76.8 px on: the centre of pixel 76 lies at 76.5, outside
    expected[51:60, 26:51] = True  # 25.6 to 51.2 and 51.2 on: pixel 51's centre at 51.5 is inside
    assert np.array_equal(opaque, expected)
    assert not overlay[~opaque].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(50, 2000), st.integers(3, 120), st.integers(3, 120))
def test_a_full_grid_leaves_no_gap_and_each_pixel_has_the_tile_of_its_centre(
    columns: int, rows: int, tile: int, wide: int, high: int
):
    width, height = max(1, columns * tile - tile // 3), max(1, rows * tile - tile // 4)
    coords = np.array([(x * tile, y * tile) for y in range(rows) for x in range(columns)], np.int32)
    weights = np.arange(1, len(coords) + 1, dtype=np.float64)
    image = render_heatmap(blank(high, wide), coords, tile, width, height, attention(*weights))
    assert (image.overlay[..., 3] == 255).all()
    multiples = weights / weights.sum() * len(weights)
    levels = np.rint(255 * np.minimum(multiples / image.legend.high, 1)).astype(int)
    for y in (0, high // 2, high - 1):
        for x in (0, wide // 2, wide - 1):
            column = int((x + 0.5) * width / wide // tile)
            row = int((y + 0.5) * height / high // tile)
            level = levels[row * columns + column]
            nearby = cividis()[max(0, level - 1) : level + 2]
            assert (image.overlay[y, x, :3] == nearby).all(axis=1).any()


def test_even_attention_looks_even_and_its_scale_is_said():
    coords = np.array([(x, 0) for x in range(0, 1000, 100)], np.int32)
    image = render_heatmap(blank(10, 100), coords, 100, 1000, 100, np.full(10, 0.1, np.float32))
    assert (image.overlay == image.overlay[0, 0]).all()
    assert image.legend.low == 0
    assert image.legend.high == 2
    assert image.legend.n_clipped == 0
    assert image.legend.quantile(0.5) == pytest.approx(1.0)


def test_one_extreme_tile_is_clipped_and_counted():
    coords = np.array([(x, 0) for x in range(1000)], np.int32)
    weights = np.ones(1000)
    weights[:20] = 30
    weights[3] = 500
    image = render_heatmap(blank(1, 1000), coords, 1, 1000, 1, attention(*weights))
    multiples = weights / weights.sum() * 1000
    assert image.legend.high == pytest.approx(np.quantile(multiples, 0.99), rel=1e-5)
    assert image.legend.n_clipped == 1
    assert image.legend.quantile(1.0) == pytest.approx(multiples.max(), rel=1e-5)
    assert (image.overlay[0, 3, :3] == cividis()[-1]).all()


def test_the_colour_map_is_cividis_and_rises_in_lightness():
    table = cividis()
    assert table.shape == (256, 3)
    lightness = cv2.cvtColor(table[None], cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] - lightness[0] > 180
    assert palette_stops(3) == ("#00224e", palette_stops(3)[1], "#fee838")


@pytest.mark.parametrize(
    ("coords", "weights"),
    [
        (np.zeros((2, 2), np.int32), np.ones(3, np.float32) / 3),
        (np.zeros((2, 2), np.int32), np.array([0.5, np.nan], np.float32)),
        (np.zeros((2, 2), np.int32), np.array([1.5, -0.5], np.float32)),
        (np.zeros((2, 2), np.int32), np.array([3.0, 3.0], np.float32)),
    ],
)
def test_weights_that_are_no_attention_are_refused(coords: np.ndarray, weights: np.ndarray):
    with pytest.raises(HeatmapInvalid, match="PEL-REPORT-003"):
        render_heatmap(blank(5, 5), coords, 1, 5, 5, weights)


def test_a_scan_without_tiles_has_an_empty_overlay():
    image = render_heatmap(blank(5, 5), np.zeros((0, 2), np.int32), 1, 5, 5, np.zeros(0, np.float32))
    assert not image.overlay.any()
    assert image.legend.n_tiles == 0


def test_the_spread_of_attention_need_not_sum_to_one():
    coords = np.array([(0, 0), (5, 0)], np.int32)
    image = render_attention_sd(blank(5, 10), coords, 5, 10, 5, np.array([0.01, 0.4], np.float32))
    assert image.legend.high == pytest.approx(np.quantile([0.02, 0.8], 0.99), abs=0.5)
    assert (image.overlay[..., 3] == 255).all()


def test_a_png_holds_the_overlay_bit_by_bit(tmp_path: Path):
    coords = np.array([(0, 0), (5, 0)], np.int32)
    overlay = render_heatmap(blank(5, 12), coords, 5, 12, 5, attention(1, 3)).overlay
    path = write_png(tmp_path / "deep" / "heatmap.png", overlay)
    assert np.array_equal(np.asarray(Image.open(path)), overlay)
    assert [p.name for p in path.parent.iterdir()] == ["heatmap.png"]


@pytest.mark.parametrize(("shape", "expected"), [((600, 820), (117, 160)), ((3000, 2), (160, 1)), ((50, 60), (50, 60))])
def test_an_icon_keeps_the_shape_and_fits(shape: tuple[int, int], expected: tuple[int, int]):
    assert render_icon(np.full((*shape, 3), 7, np.uint8)).shape == (*expected, 3)
