"""The fast reader: the pixels of OpenSlide and of nothing else, or not used at all."""

import os
from dataclasses import replace

import cv2
import numpy as np
import psutil
import pytest
import simplejpeg
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.cohort.synthetic.container import Page, TiffFile
from pellucid.cohort.synthetic.tiff import encoded_tiles
from pellucid.slides import (
    FileDamaged,
    RegionUnreadable,
    find_tissue,
    lay_grid,
    open_slide,
    read_tiles_into,
    superblocks,
)
from pellucid.slides.jpeg_index import index_level_0
from pellucid.slides.jpeg_tiles import JpegTiles

FORMS = {
    "whole tiles": {"form": "whole", "sampling": "420"},
    "shared tables": {"form": "tables", "sampling": "422"},
    "untransformed colours": {"form": "rgb"},
}


def is_fast(slide):
    return slide.info.reader.startswith("tiff-jpeg")


def read(slide, coords, level0_px, tile_px):
    pixels = np.full((len(coords), tile_px, tile_px, 3), 77, np.uint8)
    readable = read_tiles_into(slide, np.asarray(coords, np.int32), level0_px, pixels)
    return pixels, readable


def assert_same(path, coords, level0_px, tile_px):
    with open_slide(path) as fast, open_slide(path, fast=False) as plain:
        assert is_fast(fast)
        assert not is_fast(plain)
        ours, theirs = (read(slide, coords, level0_px, tile_px) for slide in (fast, plain))
    assert np.array_equal(ours[1], theirs[1])
    assert np.array_equal(ours[0], theirs[0])
    return ours


@pytest.fixture(scope="module")
def odd_section(tmp_path_factory, slide_file, tissue_picture):
    """A slide whose size is no multiple of anything: 1100 x 777 px."""
    path = tmp_path_factory.mktemp("fast") / "odd.tif"
    return slide_file(path, tissue_picture(1100)[:777], mpp=0.25, form="tables", sampling="420")


def test_it_says_so_and_changes_nothing_else(section):
    with open_slide(section) as fast, open_slide(section, fast=False) as plain:
        assert fast.info.reader.endswith(f"checked against {plain.info.reader}")
        assert replace(fast.info, reader=plain.info.reader) == plain.info
        assert fast.path == plain.path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("level0_px", "tile_px"), [(256, 256), (448, 224), (512, 128), (333, 224), (300, 320)])
def test_same_pixels_however_tiles_are_coded(tmp_path, slide_file, tissue_picture, form, level0_px, tile_px):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1100), mpp=0.25, **FORMS[form])
    corners = [(x, y) for y in range(0, 1100, level0_px) for x in range(0, 1100, level0_px)]
    _, readable = assert_same(path, corners, level0_px, tile_px)
    assert readable.all()


@given(
    corners=st.lists(st.tuples(st.integers(-300, 1200), st.integers(-300, 900)), min_size=1, max_size=6),
    step=st.sampled_from([1, 2, 4]),
    tile_px=st.sampled_from([32, 56, 100]),
    ratio=st.sampled_from([0.97, 1.0, 1.7, 2.0, 3.0, 4.0, 8.0]),
)
@settings(deadline=None, max_examples=60)
def test_same_pixels_wherever_tiles_lie(odd_section, corners, step, tile_px, ratio):
    assert_same(odd_section, np.array(corners) // step * step, round(tile_px * ratio), tile_px)


@given(x=st.integers(-50, 1150), y=st.integers(-50, 800), width=st.integers(1, 400), height=st.integers(1, 400))
@settings(deadline=None, max_examples=30)
def test_same_regions(odd_section, x, y, width, height):
    with open_slide(odd_section) as fast, open_slide(odd_section, fast=False) as plain:
        assert np.array_equal(fast.read_region(x, y, width, height), plain.read_region(x, y, width, height))


def test_other_levels_are_read_too(section):
    with open_slide(section) as fast, open_slide(section, fast=False) as plain:
        ours, theirs = (slide.read_region(7, 9, 200, 100, level=1) for slide in (fast, plain))
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("tile_px", [128, 97])
def test_tiles_don_t_depend_on_what_one_call_reads(odd_section, tile_px):
    corners = [(x, y) for y in (0, 256) for x in (0, 256, 512)]
    with open_slide(odd_section) as slide:
        together, _ = read(slide, corners, 256, tile_px)
        for nth, corner in enumerate(corners):
            assert np.array_equal(read(slide, [corner], 256, tile_px)[0][0], together[nth])


@pytest.mark.parametrize("level0_px", [256, 200])
def test_left_out_tiles_are_as_openslide_has_them(tmp_path, slide_file, tissue_picture, level0_px):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1100), mpp=0.5, absent=(0, 7, 8))
    assert_same(path, [(x, y) for y in range(0, 1000, level0_px) for x in range(0, 1000, level0_px)], level0_px, 100)


@pytest.mark.parametrize("level0_px", [256, 200])
def test_damaged_tiles_are_as_openslide_has_them(tmp_path, slide_file, tissue_picture, level0_px):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1100), mpp=0.5, spoil=(6, 13))
    corners = [(x, y) for y in range(0, 1000, level0_px) for x in range(0, 1000, level0_px)]
    pixels, readable = assert_same(path, corners, level0_px, 100)
    assert 0 < np.count_nonzero(~readable) < len(corners)
    assert (pixels[~readable] == 0).all()
    with open_slide(path) as slide:
        with pytest.raises(RegionUnreadable):
            slide.read_region(300, 300, 50, 50)
        assert slide.read_region(0, 0, 50, 50).shape == (50, 50, 3)


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_is_as_openslide_has_it(tmp_path, slide_file, tissue_picture, seed):
    """Bytes changed at random inside tiles: headers, tables, compressed pixels."""
    path = slide_file(tmp_path / "a.tif", tissue_picture(768), mpp=0.5, form=("whole", "tables")[seed % 2])
    data, draw = bytearray(path.read_bytes()), np.random.default_rng(seed)
    index = index_level_0(path, 768, 768)
    for nth in range(0, 9, 2):
        offset, size = int(index.offsets.ravel()[nth]), int(index.sizes.ravel()[nth])
        first = 2 if seed < 6 else size // 2
        reach = min(60, size) if seed < 6 else size
        for at in draw.integers(first, reach, 3):
            data[offset + int(at)] = int(draw.integers(0, 256))
    path.write_bytes(data)
    corners = [(x, y) for y in (0, 256, 512) for x in (0, 256, 512)]
    with open_slide(path) as slide, open_slide(path, fast=False) as plain:
        ours, theirs = (read(each, corners, 256, 64) for each in (slide, plain))
    assert np.array_equal(ours[1], theirs[1])
    assert np.array_equal(ours[0], theirs[0])


def test_a_tile_of_another_size_is_not_taken(tmp_path, slide_file, tissue_picture):
    """A JPEG of another size than stated decodes well; OpenSlide refuses it, and so must we."""
    path = slide_file(tmp_path / "a.tif", tissue_picture(768), mpp=0.5)
    index = index_level_0(path, 768, 768)
    data = bytearray(path.read_bytes())
    small = simplejpeg.encode_jpeg(tissue_picture(128), quality=90)
    assert len(small) < index.sizes[1, 1]
    data[index.offsets[1, 1] : index.offsets[1, 1] + len(small)] = small
    path.write_bytes(data)
    _, readable = assert_same(path, [(0, 0), (256, 256)], 256, 64)
    assert readable.tolist() == [True, False]


def test_big_tiff(tmp_path, tissue_picture):
    picture, path = tissue_picture(768), tmp_path / "a.tif"
    with path.open("wb") as file:
        TiffFile(file, big=True).append(
            Page(
                width=768,
                height=768,
                parts=encoded_tiles(picture, 80),
                tile_px=256,
                description="Pellucid synthetic scan",
                software="Pellucid synthetic",
                mpp=0.5,
            )
        )
    assert path.read_bytes()[2] == 43
    assert_same(path, [(0, 0), (100, 301)], 333, 100)


def test_the_index_is_that_of_tifffile(section):
    index = index_level_0(section, 1536, 1280)
    with tifffile.TiffFile(section) as file:
        page = file.pages[0]
        assert index.offsets.ravel().tolist() == list(page.dataoffsets)
        assert index.sizes.ravel().tolist() == list(page.databytecounts)
        assert (index.tile_width, index.tile_height) == (page.tilewidth, page.tilelength)


def test_colours_that_data_and_file_state_differently_are_left_to_openslide(tmp_path, slide_file, tissue_picture):
    """OpenSlide believes the file, a plain JPEG decoder the data."""
    path = slide_file(tmp_path / "a.tif", tissue_picture(600), mpp=0.5, form="lie")
    with open_slide(path) as slide, open_slide(path, fast=False) as plain:
        assert not is_fast(slide)
        ours, theirs = (read(each, [(0, 0), (100, 100)], 256, 128) for each in (slide, plain))
        assert np.array_equal(ours[0], theirs[0])


def test_a_decoder_that_is_off_by_one_grey_level_is_found_out(section, monkeypatch):
    original = JpegTiles.decode

    def wrong(self, row, column, *, scale=1):
        tile = original(self, row, column, scale=scale).copy()
        tile[100, 100, 1] ^= 1
        return tile

    monkeypatch.setattr(JpegTiles, "decode", wrong)
    before = psutil.Process().num_fds()
    with open_slide(section) as slide:
        assert not is_fast(slide)
        assert psutil.Process().num_fds() <= before + 1


def test_decoded_pixels_stay_in_the_caches(section):
    with open_slide(section) as slide:
        for scale in (1, 2):
            assert slide._tiles.decode(1, 1, scale=scale).ctypes.data % 32 == 16


def test_two_images_of_the_same_size_are_left_to_openslide(tmp_path, tissue_picture):
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        tiff = TiffFile(file, big=False)
        for _ in range(2):
            parts = encoded_tiles(tissue_picture(768), 80)
            tiff.append(Page(width=768, height=768, parts=parts, tile_px=256, description=None, software="x", mpp=0.5))
    assert index_level_0(path, 768, 768) is None


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "fast"),
    [
        ("CMU-1-Small-Region.svs", True),
        ("A_BB_563479_1.svs", True),
        ("N1_BB_563479_1.ndpi", True),
        ("Z_BB_563479_1.tif", True),
        ("TCGA-CR-7395-01A-01-TS1.svs", False),
        ("multiframe_camelyon_challenge_image.dcm", False),
    ],
)
def test_real_slides(real_slides, name, fast):
    path = real_slides / name
    with open_slide(path) as slide, open_slide(path, fast=False) as plain:
        assert is_fast(slide) is fast
        corners = [(x, y) for y in range(100, slide.info.height, 961) for x in range(33, slide.info.width, 961)]
        for level0_px in (448, 441):
            ours, theirs = (read(each, corners, level0_px, 224) for each in (slide, plain))
            assert ours[1].all()
            assert np.array_equal(ours[0], theirs[0])


def test_a_file_that_is_cut_while_it_is_read_is_damaged(tmp_path, slide_file, tissue_picture):
    path = slide_file(tmp_path / "a.tif", tissue_picture(768), mpp=0.5)
    with open_slide(path) as slide:
        os.truncate(path, 2000)
        with pytest.raises(FileDamaged):
            read(slide, [(256, 256), (512, 512)], 256, 100)


def test_a_closed_slide_says_so(section):
    slide = open_slide(section)
    assert is_fast(slide)
    slide.close()
    slide.close()
    with pytest.raises(ValueError, match="closed"):
        read(slide, [(0, 0)], 256, 256)
    with pytest.raises(ValueError, match="closed"):
        slide.read_region(0, 0, 8, 8)


def test_openslide_s_memory_is_released_before_tiles_are_read(section):
    with open_slide(section) as slide:
        find_tissue(slide)
        assert slide._plain._handle is not None
        read(slide, [(0, 0)], 256, 256)
        assert (slide._plain._handle, slide._plain._cache) == (None, None)


def test_openslide_s_memory_is_released_after_it_read_what_was_left_out(tmp_path, slide_file, tissue_picture):
    path = slide_file(tmp_path / "a.tif", tissue_picture(768), mpp=0.5, absent=(4,))
    with open_slide(path) as slide:
        assert read(slide, [(256, 256)], 256, 256)[1].all()
        assert (slide._plain._handle, slide._plain._cache) == (None, None)


@pytest.mark.parametrize("fast", [True, False])
def test_no_pixels_for_nothing(section, fast):
    with open_slide(section, fast=fast) as slide:
        pixels, readable = read(slide, np.zeros((0, 2)), 256, 256)
    assert pixels.shape == (0, 256, 256, 3)
    assert readable.shape == (0,)


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, 8, 9, 3), np.uint8), np.zeros((1, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8)]
)
def test_unfit_memory_is_refused(section, pixels):
    with open_slide(section) as slide, pytest.raises(ValueError, match=r"pixels|room"):
        read_tiles_into(slide, np.zeros((1, 2), np.int32), 256, pixels)


def test_a_part_of_a_larger_buffer_is_filled_and_no_more(section):
    buffer = np.full((6, 100, 100, 3), 77, np.uint8)
    with open_slide(section) as slide:
        read_tiles_into(slide, np.array([[256, 0], [512, 0]], np.int32), 256, buffer[2:4])
        expected, _ = read(slide, [(256, 0), (512, 0)], 256, 100)
    assert np.array_equal(buffer[2:4], expected)
    assert (buffer[[0, 1, 4, 5]] == 77).all()


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
def test_memory_is_flat_over_a_thousand_slides(section, fast):
    def cycle():
        with open_slide(section, fast=fast) as slide:
            read(slide, [(256, 0), (512, 256)], 256, 100)
            read(slide, [(256, 0), (512, 256)], 300, 100)

    process = psutil.Process()
    for _ in range(100):
        cycle()
    resident, n_files = process.memory_info().rss, process.num_fds()
    for _ in range(1000):
        cycle()
    assert process.memory_info().rss - resident < 4 << 20
    assert process.num_fds() == n_files


def test_each_stored_tile_is_decoded_once_in_a_block(section, monkeypatch):
    decoded = []
    original = JpegTiles.decode

    def counted(self, row, column, *, scale=1):
        decoded.append((row, column))
        return original(self, row, column, scale=scale)

    with open_slide(section) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=112, mpp=1.0)
        monkeypatch.setattr(JpegTiles, "decode", counted)
        for block in superblocks(grid):
            decoded.clear()
            read(slide, grid.coords[block], grid.level0_px, 112)
            assert len(decoded) == len(set(decoded))
            edges = cv2.boundingRect(grid.coords[block])
            assert len(decoded) <= (edges[2] // 256 + 3) * (edges[3] // 256 + 3)
