"""The overview: bounded reads, the same picture from any level, honest holes."""

import cv2
import numpy as np
import pytest

from pellucid.slides import open_slide
from pellucid.slides.overview import read_overview


class Recorder:
    """A slide that notes how large each read is."""

    def __init__(self, slide):
        self.slide, self.largest, self.n_reads = slide, 0, 0

    @property
    def info(self):
        return self.slide.info

    def read_region(self, x, y, width, height, *, level=0):
        self.n_reads += 1
        self.largest = max(self.largest, width * height)
        return self.slide.read_region(x, y, width, height, level=level)


def test_averages_level_0(section):
    with open_slide(section) as slide:
        whole = slide.read_region(0, 0, 1536, 1280)
        overview = read_overview(slide, 2.0)
    assert overview.downsample == 2.0
    assert np.array_equal(overview.rgb, cv2.resize(whole, (768, 640), interpolation=cv2.INTER_AREA))
    assert not overview.unreadable.any()


def test_blocks_join_without_seams(tmp_path, slide_file, tissue_picture):
    picture = np.tile(tissue_picture(1024), (3, 3, 1))
    path = slide_file(tmp_path / "wide.tif", picture, mpp=0.5)
    with open_slide(path) as slide:
        recorder = Recorder(slide)
        overview = read_overview(recorder, 16.0)
        whole = slide.read_region(0, 0, 3072, 3072)
    assert recorder.largest <= 2048 * 2048
    assert np.array_equal(overview.rgb, cv2.resize(whole, (192, 192), interpolation=cv2.INTER_AREA))


def test_uses_the_coarsest_level_that_is_fine_enough(section):
    with open_slide(section) as slide:
        recorder = Recorder(slide)
        overview = read_overview(recorder, 10.0)
    assert overview.downsample == 8.0
    assert recorder.largest <= 384 * 320


def test_the_same_overview_again_decodes_nothing(section):
    with open_slide(section) as slide:
        recorder = Recorder(slide)
        first = read_overview(recorder, 8.0)
        n_reads = recorder.n_reads
        assert read_overview(recorder, 10.0) is first
        assert recorder.n_reads == n_reads
        assert read_overview(recorder, 16.0).downsample == 16.0
    assert not first.rgb.flags.writeable


class Unhashable(Recorder):
    """A reader that compares by value, so nothing can be kept for it."""

    __hash__ = None

    def __eq__(self, other):
        return self is other


def test_a_reader_without_a_hash_is_read_each_time(section):
    with open_slide(section) as slide:
        reader = Unhashable(slide)
        assert np.array_equal(read_overview(reader, 8.0).rgb, read_overview(reader, 8.0).rgb)
        assert reader.n_reads == 2


def test_what_cannot_be_decoded_is_marked_and_nothing_else(tmp_path, slide_file, tissue_picture):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1280), mpp=0.5, spoil=(7,))
    with open_slide(path) as slide:
        overview = read_overview(slide, 16.0)
    truth = np.zeros_like(overview.unreadable)
    truth[16:32, 32:48] = True
    assert (overview.unreadable >= truth).all()
    assert np.count_nonzero(overview.unreadable) < 2 * np.count_nonzero(truth)


def test_a_broken_level_0_doesn_t_hurt_where_a_lower_level_is_whole(tmp_path, slide_file, tissue_picture):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1280), mpp=0.5, spoil=(7,), levels=2)
    with open_slide(path) as slide:
        assert not read_overview(slide, 16.0).unreadable.any()


@pytest.mark.parametrize("n_px", [1, 7, 250])
def test_tiny_slides(tmp_path, slide_file, n_px):
    path = slide_file(tmp_path / "a.tif", np.full((n_px, n_px, 3), 200, np.uint8), mpp=0.5)
    with open_slide(path) as slide:
        assert read_overview(slide, 16.0).rgb.shape[0] == max(1, n_px // 16)
