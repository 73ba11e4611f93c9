import io

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile

from pellucid.cohort.synthetic.container import Page, TiffFile

DRAW = np.random.default_rng(3)
TILES = [DRAW.integers(0, 255, (1, 1, 3), np.uint8) + np.zeros((256, 256, 3), np.uint8) for _ in range(6)]


def page(n_tiles=6, **changes):
    parts = [simplejpeg.encode_jpeg(tile, 95, "RGB", "420") for tile in TILES[:n_tiles]]
    fields = {"width": 700, "height": 500, "parts": parts, "tile_px": 256, "description": "x" * 41, "software": "s"}
    return Page(**(fields | changes))


@pytest.mark.parametrize("big", [False, True])
def test_openslide_and_tifffile_read_what_was_written(tmp_path, big):
    path = tmp_path / "file.tif"
    with path.open("wb") as file:
        tiff = TiffFile(file, big=big)
        tiff.append(page(mpp=0.25, device="SYN-A"))
        tiff.append(page(n_tiles=1, width=175, height=125, subfile=1, description=None))
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((700, 500), (175, 125))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert slide.properties["tiff.Model"] == "SYN-A"
        pixels = np.asarray(slide.read_region((0, 0), 0, (700, 500)).convert("RGB")).astype(int)
    for index, tile in enumerate(TILES):
        y, x = divmod(index, 3)
        assert np.abs(pixels[y * 256 + 100, x * 256 + 100] - tile[0, 0]).max() <= 4
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff == big
        assert [found.shape for found in tiff.pages] == [(500, 700, 3), (125, 175, 3)]
        assert tiff.pages[0].description == "x" * 41


def test_a_wrong_number_of_tiles_is_noticed():
    with pytest.raises(ValueError, match="5 parts"):
        TiffFile(io.BytesIO(), big=False).append(page(n_tiles=5))


def test_no_time_of_day_is_stored():
    file = io.BytesIO()
    TiffFile(file, big=False).append(page())
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        assert 306 not in tiff.pages[0].tags
