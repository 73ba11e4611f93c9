"""Half-scale decoding: one definition for all scans, or none."""

import cv2
import numpy as np
import pytest
import simplejpeg

from pellucid.domain.encoder import Decoding
from pellucid.slides import (
    ScaledDecodingUnfit,
    check_decoding,
    find_tissue,
    lay_grid,
    open_slide,
    read_tiles,
    read_tiles_into,
)
from pellucid.slides.jpeg_index import index_level_0

SCALED = Decoding.SCALED_DCT


@pytest.fixture(scope="module")
def fine(tmp_path_factory, slide_file, tissue_picture):
    """A slide at 0.25 um/px, 1101 x 1100, as scanners code them."""
    path = tmp_path_factory.mktemp("scaled") / "fine.tif"
    return slide_file(path, tissue_picture(1101, 0.25)[:1100], mpp=0.25, form="tables", sampling="420")


def read(slide, coords, level0_px, tile_px, decoding=SCALED):
    pixels = np.full((len(coords), tile_px, tile_px, 3), 77, np.uint8)
    return pixels, read_tiles_into(slide, np.asarray(coords, np.int32), level0_px, pixels, decoding=decoding)


def half_picture(path, width, height):
    """The half-resolution picture put together by hand."""
    index, data = index_level_0(path, width, height), path.read_bytes()
    picture = np.zeros((index.sizes.shape[0] * 128, index.sizes.shape[1] * 128, 3), np.uint8)
    for (row, column), size in np.ndenumerate(index.sizes):
        start = int(index.offsets[row, column])
        jpeg = index.head + data[start + 2 : start + int(size)]
        tile = simplejpeg.decode_jpeg(jpeg, min_height=128, min_width=128)
        picture[row * 128 : (row + 1) * 128, column * 128 : (column + 1) * 128] = tile
    return picture[: height // 2, : width // 2]


def test_tiles_are_those_of_the_half_resolution_picture(fine):
    picture = half_picture(fine, 1101, 1100)
    corners = [(0, 0), (224, 448), (101, 333), (652, 651)]
    with open_slide(fine) as slide:
        for level0_px in (448, 449):
            pixels, readable = read(slide, corners, level0_px, 224)
            assert readable.all()
            for tile, (x, y) in zip(pixels, corners, strict=True):
                assert np.array_equal(tile, picture[y // 2 : y // 2 + 224, x // 2 : x // 2 + 224])


@pytest.mark.parametrize(("level0_px", "method"), [(457, cv2.INTER_AREA), (441, cv2.INTER_LINEAR)])
def test_other_ratios_are_resized_from_the_half_resolution_picture(fine, level0_px, method):
    picture, half = half_picture(fine, 1101, 1100), level0_px // 2
    with open_slide(fine) as slide:
        pixels, _ = read(slide, [(101, 334)], level0_px, 224)
    expected = cv2.resize(picture[167 : 167 + half, 50 : 50 + half], (224, 224), interpolation=method)
    assert np.array_equal(pixels[0], expected)


def test_pixels_are_nearly_those_of_full_resolution(fine):
    corners = [(x, y) for x in (0, 448) for y in (0, 448)]
    with open_slide(fine) as slide:
        scaled, full = (read(slide, corners, 448, 224, way)[0].astype(float) for way in Decoding)
    assert not np.array_equal(scaled, full)
    assert 10 * np.log10(255**2 / ((scaled - full) ** 2).mean()) > 40.0
    assert np.abs((scaled - full).mean(axis=(0, 1, 2))).max() < 0.5


def test_beyond_the_scan_is_white(fine):
    with open_slide(fine) as slide:
        pixels, readable = read(slide, [(1000, 1000), (-2000, 0)], 448, 224)
    assert readable.all()
    assert (pixels[0, 50:] == 255).all()
    assert (pixels[0, :50, :50] != 255).any()
    assert (pixels[1] == 255).all()


@pytest.mark.parametrize("defect", [{"spoil": (5,)}, {"absent": (5,)}])
def test_what_can_t_be_decoded_is_unreadable_not_decoded_another_way(tmp_path, slide_file, tissue_picture, defect):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1024, 0.25), mpp=0.25, **defect)
    corners = [(0, 0), (256, 256), (512, 512), (512, 0)]
    with open_slide(path) as slide:
        pixels, readable = read(slide, corners, 512, 256)
    assert readable.tolist() == [False, False, True, True]
    assert (pixels[~readable] == 0).all()


@pytest.mark.parametrize(("level0_px", "fits"), [(224, False), (424, False), (426, True), (470, True), (472, False)])
def test_only_about_half_scale(fine, level0_px, fits):
    with open_slide(fine) as slide:
        if fits:
            check_decoding(slide, level0_px, 224, SCALED)
        else:
            with pytest.raises(ScaledDecodingUnfit, match="as fine"):
                read(slide, [(0, 0)], level0_px, 224)


def test_only_by_the_fast_reader(fine):
    with open_slide(fine, fast=False) as slide:
        with pytest.raises(ScaledDecodingUnfit, match="openslide"):
            check_decoding(slide, 448, 224, SCALED)
        check_decoding(slide, 448, 224, Decoding.FULL_AREA)


def test_a_grid_read_at_half_scale(fine):
    with open_slide(fine) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=128, mpp=0.5)
        batches = list(read_tiles(slide, grid, batch_size=5, decoding=SCALED))
        expected, _ = read(slide, grid.coords, grid.level0_px, 128)
    assert np.array_equal(np.concatenate([batch.pixels for batch in batches]), expected)
