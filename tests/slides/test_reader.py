"""The OpenSlide reader: what a scan says of itself, regions, broken regions, and what stays inside."""

import dataclasses
from pathlib import Path

import numpy as np
import psutil
import pytest

from pellucid.slides import RegionUnreadable, Slide, open_slide, render_thumbnail, require_scale
from pellucid.slides.properties import scanner
from pellucid.slides.reader import _on_white


def test_describes_a_scan(section):
    with open_slide(section) as slide:
        assert isinstance(slide, Slide)
        assert (slide.info.width, slide.info.height) == (1536, 1280)
        assert slide.info.level_downsamples == (1.0, 4.0)
        assert slide.info.synthetic
        assert slide.info.magnification == pytest.approx(20.0)
        scale = require_scale(slide.info)
        assert (scale.mpp_x, scale.detail) == (pytest.approx(0.5), "openslide.mpp-x")


@pytest.mark.real
def test_describes_a_real_scan(real_slides):
    with open_slide(str(real_slides / "CMU-1-Small-Region.svs")) as slide:
        assert slide.info.vendor == "aperio"
        assert slide.info.objective_power == 20.0
        assert slide.info.scanner == "CPAPERIOCS"
        assert slide.info.magnification == pytest.approx(20.04, abs=0.01)
        assert not slide.info.synthetic
        assert slide.path == real_slides / "CMU-1-Small-Region.svs"


def test_an_override_keeps_the_claim_and_says_where_it_came_from(tmp_path, slide_file):
    path = slide_file(tmp_path / "a.tif", np.full((300, 300, 3), 240, np.uint8), mpp=1000.0)
    with open_slide(path, mpp=0.5, mpp_detail="cohort table") as slide:
        assert slide.info.claimed_mpp == pytest.approx(1000.0)
        assert slide.info.scale.detail == "cohort table"


def test_anisotropic_file_has_no_scale(tmp_path, slide_file):
    path = slide_file(tmp_path / "a.tif", np.full((300, 300, 3), 240, np.uint8), mpp=0.5, mpp_y=0.6)
    with open_slide(path) as slide:
        assert slide.info.scale is None


LEICA = "Leica GT450"


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({}, None),
        ({"aperio.ScanScope ID": "SS1302"}, "SS1302"),
        ({"dicom.Manufacturer": "Leica", "dicom.ManufacturerModelName": "GT450", "dicom.PatientName": "X"}, LEICA),
        ({"tiff.Make": "Hamamatsu", "tiff.Model": "C13220", "hamamatsu.Reference": "case 7"}, "Hamamatsu C13220"),
    ],
)  # fmt: skip
def test_scanner_is_the_device_and_nothing_else(properties, name):
    assert scanner(properties) == name


def test_transparent_pixels_are_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, 1] = (10, 20, 30, 255)
    rgba[0, 2] = (200, 100, 0, 128)
    assert _on_white(rgba)[0].tolist() == [[255, 255, 255], [10, 20, 30], [227, 177, 127]]


def test_region_beyond_the_scan_is_white(section):
    with open_slide(section) as slide:
        region = slide.read_region(1536, 1280, 64, 32)
        assert region.shape == (32, 64, 3)
        assert region.dtype == np.uint8
        assert (region == 255).all()
        assert (slide.read_region(-64, 0, 64, 8) == 255).all()


def test_one_broken_region_leaves_the_slide_usable(tmp_path, slide_file, tissue_picture):
    path = slide_file(tmp_path / "a.tif", tissue_picture(768), mpp=0.5, spoil=(4,))
    with open_slide(path) as slide:
        before = slide.read_region(0, 0, 256, 256)
        for _ in range(3):
            with pytest.raises(RegionUnreadable):
                slide.read_region(300, 300, 100, 100)
            assert np.array_equal(slide.read_region(0, 0, 256, 256), before)


def test_a_closed_slide_says_so_and_leaves_no_file_open(section):
    files = psutil.Process().open_files
    before = len(files())
    slide = open_slide(section)
    slide.read_region(0, 0, 8, 8)
    slide.close()
    slide.close()
    with pytest.raises(ValueError, match="closed"):
        slide.read_region(0, 0, 8, 8)
    for _ in range(50):
        with open_slide(section) as again:
            again.read_region(0, 0, 8, 8)
    assert len(files()) == before


def test_refused_files_leave_no_file_open(tmp_path, section):
    path = tmp_path / "cut.tif"
    path.write_bytes(section.read_bytes()[:-2])
    before = len(psutil.Process().open_files())
    for _ in range(20):
        with pytest.raises(Exception, match="truncated"):
            open_slide(path)
    assert len(psutil.Process().open_files()) == before


@pytest.mark.real
def test_label_and_macro_never_leave_the_room(real_slides):
    with open_slide(real_slides / "CMU-1-Small-Region.svs") as slide:
        public = [name for name in dir(slide) if not name.startswith("_")]
        assert public == ["close", "info", "make_tiles", "path", "read_region", "release"]
        said = str(dataclasses.asdict(slide.info))
        assert "label" not in said
        assert "macro" not in said
        thumbnail = render_thumbnail(slide)
        assert thumbnail.shape[0] / thumbnail.shape[1] == pytest.approx(2967 / 2220, rel=0.01)
    sources = Path(__file__).parents[2] / "src" / "pellucid"
    using = [path for path in sources.rglob("*.py") if "associated_images" in path.read_text()]
    assert using == []


def test_slides_never_import_torch():
    import subprocess
    import sys

    code = "import sys, pellucid.slides; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
