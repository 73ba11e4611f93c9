import numpy as np
import openslide
import pytest
import tifffile

from pellucid.cohort import SynthesisInvalid, write_large_slide


def test_a_large_slide_is_a_pyramid_with_glass_around_the_tissue(tmp_path):
    path = write_large_slide(tmp_path / "large.svs", 24_000, 20_000, seed=1)
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (24_000, 20_000)
        assert slide.level_downsamples == pytest.approx((1.0, 4.0, 16.0), rel=0.001)
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert "Pellucid synthetic" in slide.properties["tiff.ImageDescription"]
        levels = [
            np.asarray(slide.read_region((10_240, 10_240), level, (size, size)).convert("RGB").resize((64, 64))).astype(
                int
            )
            for level, size in enumerate((4096, 1024, 256))
        ]
        corner = np.asarray(slide.read_region((0, 0), 0, (256, 256)).convert("RGB"))
    assert corner.min() > 225
    assert levels[0].std() > 10
    for level in levels[1:]:
        assert np.abs(level - levels[0]).mean() < 8


def test_past_four_gigabytes_of_pixels_the_file_is_a_bigtiff(tmp_path):
    path = write_large_slide(tmp_path / "large.svs", 51_200, 43_008, seed=1, tissue_share=0.0)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (51_200, 43_008)


@pytest.mark.parametrize("wrong", [{"width": 100}, {"mpp": 0.3}, {"tissue_share": 1.5}])
def test_impossible_slides_are_refused(tmp_path, wrong):
    arguments = {"width": 4096, "height": 4096} | wrong
    with pytest.raises(SynthesisInvalid):
        write_large_slide(tmp_path / "x.svs", **arguments)
