"""Thumbnails and overlays."""

from dataclasses import replace

import numpy as np
import pytest

from pellucid.slides import draw_tiles, draw_tissue, find_tissue, lay_grid, open_slide, render_thumbnail


@pytest.mark.parametrize("max_px", [64, 300, 1024])
def test_thumbnail_has_the_shape_of_the_scan(section, max_px):
    with open_slide(section) as slide:
        thumbnail = render_thumbnail(slide, max_px=max_px)
    assert max(thumbnail.shape) == max_px
    assert thumbnail.shape[1] / thumbnail.shape[0] == pytest.approx(1536 / 1280, rel=0.02)
    assert abs(float(thumbnail[:, : thumbnail.shape[1] // 8].mean()) - 243) < 2


class Counted:
    """A slide that counts the pixels it decodes."""

    def __init__(self, slide):
        self.slide, self.n_px = slide, 0

    @property
    def info(self):
        return self.slide.info

    def read_region(self, x, y, width, height, *, level=0):
        self.n_px += width * height
        return self.slide.read_region(x, y, width, height, level=level)


def test_thumbnail_and_tissue_share_what_was_decoded(section):
    with open_slide(section) as slide:
        counted = Counted(slide)
        find_tissue(counted)
        before = counted.n_px
        after_tissue = render_thumbnail(counted, max_px=64)
        assert counted.n_px == before
    with open_slide(section) as slide:
        assert np.array_equal(render_thumbnail(slide, max_px=64), after_tissue)


def test_a_stored_level_is_preferred_to_decoding_all_of_level_0(section):
    with open_slide(section) as slide:
        counted = Counted(slide)
        thumbnail = render_thumbnail(counted, max_px=500)
    assert thumbnail.shape == (320, 384, 3)
    assert counted.n_px == 320 * 384


def test_a_thumbnail_needs_no_scale(tmp_path, slide_file, tissue_picture):
    with open_slide(slide_file(tmp_path / "a.tif", tissue_picture(512))) as slide:
        assert render_thumbnail(slide, max_px=128).shape == (128, 128, 3)


def test_what_can_t_be_decoded_is_grey(tmp_path, slide_file, tissue_picture):
    with open_slide(slide_file(tmp_path / "a.tif", tissue_picture(768), spoil=(4,))) as slide:
        thumbnail = render_thumbnail(slide, max_px=96)
    assert (thumbnail[36:60, 36:60] == 128).all()


def test_overlays_leave_the_thumbnail_alone_and_mark_tiles(section):
    with open_slide(section) as slide:
        thumbnail = render_thumbnail(slide)
        tissue = find_tissue(slide)
        grid = lay_grid(slide.info, tissue, tile_px=256, mpp=0.5)
        before = thumbnail.copy()
        outlined = draw_tissue(thumbnail, tissue)
        readable = np.ones(len(grid), bool)
        readable[0] = False
        tiles = draw_tiles(thumbnail, slide.info, grid, readable)
        none = draw_tiles(thumbnail, slide.info, replace(grid, coords=grid.coords[:0]))
    assert np.array_equal(thumbnail, before)
    assert outlined.shape == tiles.shape == thumbnail.shape
    assert (outlined != thumbnail).any()
    x = round(256 * thumbnail.shape[1] / 1536)
    assert tiles[2, x].tolist() == [0, 0, 0]
    assert np.array_equal(none, thumbnail)
