"""Quality: numbers with limits, and pictures."""

import cv2
import numpy as np
import pytest

from pellucid.domain.reasons import Reason
from pellucid.slides import QualityLimits, assess_quality, find_tissue, lay_grid, open_slide, unreadable_measure
from pellucid.slides.focus import IN_FOCUS, measure_focus


def assess(path, mpp=None):
    with open_slide(path, mpp=mpp) as slide:
        tissue = find_tissue(slide)
        return assess_quality(slide, tissue, lay_grid(slide.info, tissue, tile_px=224, mpp=0.5))


def reasons(report):
    return {finding.reason for finding in report.quality.findings("scan")}


@pytest.fixture(scope="module")
def made(slide_file, tissue_picture, tmp_path_factory):
    def make(change=lambda picture: picture, stain="he"):
        picture = np.full((1536, 1536, 3), 243, np.uint8)
        picture[:, 256:] = tissue_picture(1536, stain=stain)[:, 256:]
        return slide_file(tmp_path_factory.mktemp("quality") / "a.tif", change(picture), mpp=0.5, levels=2)

    return make


def test_a_good_slide_keeps_every_limit(made):
    report = assess(made())
    assert reasons(report) == set()
    assert [measure.name for measure in report.quality.measures] == ["tissue", "focus", "pen", "stain"]
    assert all(np.isfinite(value) for value in report.features.values())
    assert {"haematoxylin_od", "eosin_od", "focus_median", "tissue_mm2", "pen_share"} <= set(report.features)


def test_same_numbers_again(made):
    path = made()
    assert assess(path).features == assess(path).features


def test_a_blurred_slide_is_out_of_focus(made):
    report = assess(made(lambda picture: cv2.GaussianBlur(picture, (0, 0), 4.0)))
    assert reasons(report) == {Reason.POOR_FOCUS}
    assert report.quality["focus"].value < 0.1


def test_noise_doesn_t_pass_for_focus(made):
    def blur(picture):
        noise = np.random.default_rng(0).normal(0, 3, picture.shape)
        return np.clip(cv2.GaussianBlur(picture, (0, 0), 4.0) + noise, 0, 255).astype(np.uint8)

    assert Reason.POOR_FOCUS in reasons(assess(made(blur)))


def test_an_immunostain_is_out_of_scope(made):
    report = assess(made(stain="ihc"))
    assert Reason.OUT_OF_SCOPE in reasons(report)
    assert report.quality["pen"].passed


def test_a_crossed_out_section_is_an_artefact(made):
    def cross_out(picture):
        for y in range(200, 1500, 450):
            picture[y : y + 180] = (picture[y : y + 180] * (np.array([38, 92, 200]) / 255.0)).astype(np.uint8)
        return picture

    report = assess(made(cross_out))
    assert Reason.ARTEFACT in reasons(report)
    assert 0.4 < report.quality["pen"].value < 0.8


def test_a_line_beside_tissue_is_no_artefact(made):
    def line(picture):
        picture[:, 20:130] = (24, 150, 90)
        return picture

    report = assess(made(line))
    assert Reason.ARTEFACT not in reasons(report)
    assert report.pictures["pen"].shape[2] == 3


def test_an_empty_slide_fails_all_that_needs_tissue(slide_file, tmp_path):
    path = slide_file(tmp_path / "a.tif", np.full((1024, 1024, 3), 243, np.uint8), mpp=0.5)
    report = assess(path)
    assert reasons(report) == {Reason.TOO_LITTLE_TISSUE, Reason.POOR_FOCUS, Reason.OUT_OF_SCOPE}
    assert report.quality["tissue"].value == 0.0
    assert report.quality["focus"].value is None


def test_every_picture_is_rgb(made):
    pictures = assess(made()).pictures
    assert set(pictures) == {"focus", "pen", "stain"}
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert 512 <= max(picture.shape) <= 1024


def test_sampling_survives_unreadable_tiles(slide_file, tissue_picture, tmp_path):
    path = slide_file(tmp_path / "a.tif", tissue_picture(1280), mpp=0.5, spoil=(7, 8))
    assert assess(path).quality["focus"].passed


def test_unreadable_tiles():
    limits = QualityLimits(max_unreadable=0.05)
    assert unreadable_measure(0, 100, limits).passed
    assert unreadable_measure(5, 100, limits).passed
    many = unreadable_measure(6, 100, limits)
    assert not many.passed
    assert many.reason is Reason.UNREADABLE_TILES
    assert not unreadable_measure(0, 0).passed


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_focus_doesn_t_depend_on_contrast(tissue_picture, factor):
    tile = tissue_picture(256)
    pale = (255 - factor * (255.0 - tile)).astype(np.uint8)
    assert measure_focus(pale, 0.5) == pytest.approx(measure_focus(tile, 0.5), rel=0.15)


def test_a_plain_tile_has_no_focus():
    assert measure_focus(np.full((224, 224, 3), 200, np.uint8), 0.5) == 0.0


SCANNERS = ["A_BB_563479_1.svs", "N1_BB_563479_1.ndpi", "N2_BB_563479_1.ndpi", "Z_BB_563479_1.tif"]


@pytest.mark.real
@pytest.mark.parametrize("name", SCANNERS)
def test_focus_on_four_scanners(real_slides, name):
    with open_slide(real_slides / name, mpp=0.5) as slide:
        tiles = [slide.read_region(x, y, 256, 256) for x in range(1280, 3840, 512) for y in range(1280, 3840, 512)]
    sharp = [measure_focus(tile, 0.5) for tile in tiles]
    blurred = [measure_focus(cv2.GaussianBlur(tile, (0, 0), 4.0), 0.5) for tile in tiles]
    assert np.mean(np.array(sharp) >= IN_FOCUS) >= 0.9
    assert max(blurred) < IN_FOCUS


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("CMU-1-Small-Region.svs", set()),
        ("TCGA-CR-7395-01A-01-TS1.svs", set()),
        ("CRC-AI-15_X40_IHC.tif", {Reason.OUT_OF_SCOPE}),
        (
            "not_a_slide_mask.tiff",
            {Reason.TOO_LITTLE_TISSUE, Reason.POOR_FOCUS, Reason.OUT_OF_SCOPE, Reason.ARTEFACT},
        ),
        ("A_BB_563479_1.svs", {Reason.TOO_LITTLE_TISSUE, Reason.POOR_FOCUS, Reason.OUT_OF_SCOPE}),
    ],
)
def test_real_slides(real_slides, name, failed):
    assert reasons(assess(real_slides / name, mpp=0.5)) == failed
