"""Tissue and ink: on scenes whose truth is known, on real tiles, on real slides."""

import cv2
import numpy as np
import pytest

from pellucid.slides import ScaleMissing, TissueParams, find_tissue, judge_image, open_slide
from pellucid.slides.stain import estimate_glass, optical_density
from pellucid.slides.tissue import segment


def iou(found, truth):
    return np.count_nonzero(found & truth) / max(1, np.count_nonzero(found | truth))


def at_size(mask, like):
    return cv2.resize(mask.astype(np.uint8), like.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


@pytest.fixture(scope="module")
def found(scene, slide_file, tmp_path_factory):
    cache = {}

    def find(kind):
        if kind not in cache:
            drawn = scene(kind)
            path = slide_file(tmp_path_factory.mktemp("scene") / "a.tif", drawn.rgb, mpp=drawn.mpp, levels=2)
            with open_slide(path) as slide:
                tissue = find_tissue(slide)
            cache[kind] = tissue, at_size(drawn.tissue, tissue.mask), at_size(drawn.ink, tissue.mask)
        return cache[kind]

    return find


@pytest.mark.parametrize("kind", ["section", "needle_cores", "cell_block"])
def test_tissue_is_found_beside_shadow_and_coverslip(found, kind):
    tissue, truth, _ = found(kind)
    assert iou(tissue.mask, truth) >= 0.9
    assert not tissue.pen.any()
    assert tissue.area_mm2 == pytest.approx(np.count_nonzero(truth) * 64e-6, rel=0.1)


def test_every_needle_core_and_clot_is_kept(found):
    for kind in ("needle_cores", "cell_block"):
        tissue, truth, _ = found(kind)
        n_parts, parts = cv2.connectedComponents(truth.astype(np.uint8))
        assert all(tissue.mask[parts == part].mean() > 0.8 for part in range(1, n_parts))


def test_an_empty_slide_with_shadow_and_coverslip_stays_empty(found):
    tissue, _, _ = found("empty")
    assert not tissue.mask.any()
    assert not tissue.pen.any()


@pytest.mark.parametrize("colour", ["blue", "green", "black", "red"])
def test_pen_is_no_tissue(found, colour):
    tissue, truth, ink = found(colour)
    assert np.count_nonzero(tissue.pen & ink) >= 0.98 * np.count_nonzero(ink)
    assert not (tissue.mask & ink & tissue.pen).any()
    assert iou(tissue.mask, truth) >= 0.85


def test_scene_without_glass_stays_tissue(tissue_picture):
    judged = judge_image(tissue_picture(1024), mpp=0.5)
    assert judged.tissue_fraction > 0.95
    assert not judged.penned


def test_brown_chromogen_is_no_red_pen(tissue_picture):
    assert not judge_image(tissue_picture(1024, stain="ihc"), mpp=0.5).penned


def test_dyes_whose_colours_cancel_are_tissue_next_to_coloured_tissue():
    faint = np.array([0.115, 0.12, 0.13])
    mask = segment_strip(faint, grain=0.05)
    assert mask[:, 50:75].mean() > 0.95
    assert not mask[:, 85:].any()
    assert not segment_strip(faint, grain=0.05, tissue=0.0).any()


@pytest.mark.parametrize("tint", [(0.12, 0.12, 0.12), (0.115, 0.12, 0.13)])
def test_a_smooth_shadow_next_to_tissue_is_none(tint):
    assert not segment_strip(np.asarray(tint), grain=0.0)[:, 60:].any()


def segment_strip(beside, grain, tissue=1.0):
    """Mask of a picture at 8 um/px: coloured tissue up to x = 40, `beside` up to x = 80, then glass."""
    draw = np.random.default_rng(0)
    density = np.zeros((100, 120, 3), np.float32)
    density[:, :40] = tissue * np.array([0.15, 0.30, 0.15])
    density[:, 40:80] = beside * (1.0 + grain / 0.12 * draw.normal(0.0, 1.0, (100, 40, 1)))
    return segment(np.clip(density, 0.0, None), 8.0)[0]


@pytest.mark.parametrize("grey", [120, 200, 243, 255])
def test_plain_grey_is_neither_tissue_nor_speckle(grey):
    judged = judge_image(np.full((512, 512, 3), grey, np.uint8), mpp=0.5)
    assert judged.blank
    assert judged.tissue_fraction == 0.0


def test_noise_on_glass_is_no_tissue():
    noisy = np.random.default_rng(0).normal(235, 12, (1024, 1024, 3)).clip(0, 255).astype(np.uint8)
    assert judge_image(noisy, mpp=0.5).tissue_fraction == 0.0
    coarse = np.random.default_rng(0).normal(235, 5, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    assert judge_image(coarse, mpp=8.0).blank


@pytest.mark.parametrize("glass", [(243, 243, 244), (232, 236, 240), (246, 235, 228), (255, 255, 255), (225, 220, 232)])
def test_tissue_doesn_t_depend_on_the_glass(glass, tissue_picture):
    picture = np.full((1024, 1024, 3), 243, np.uint8)
    picture[:, 400:] = tissue_picture(1024)[:, 400:]
    tinted = np.clip(picture * (np.asarray(glass) / 243.0), 0, 255).astype(np.uint8)
    mask, _ = segment(optical_density(_small(tinted), estimate_glass(_small(tinted))), 8.0)
    truth = np.zeros_like(mask)
    truth[:, 25:] = True
    assert iou(mask, truth) > 0.95


def test_scanner_fill_isn_t_taken_for_glass():
    picture = np.full((100, 100, 3), 255, np.uint8)
    picture[:40] = (230, 224, 232)
    assert estimate_glass(picture).tolist() == [230.0, 224.0, 232.0]


def _small(picture):
    return cv2.resize(picture, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA)


def test_parameters_are_physical(found, scene):
    drawn = scene("cell_block")
    for shrink in (1, 2):
        picture = cv2.resize(drawn.rgb, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        judged = judge_image(picture, mpp=drawn.mpp * shrink)
        assert judged.tissue_fraction == pytest.approx(drawn.tissue.mean(), rel=0.08)
    none_left = judge_image(drawn.rgb, mpp=drawn.mpp, params=TissueParams(min_area_um2=1e6))
    assert none_left.tissue_fraction == 0.0


def test_needs_a_scale(tmp_path, slide_file):
    path = slide_file(tmp_path / "a.tif", np.full((300, 300, 3), 240, np.uint8))
    with open_slide(path) as slide, pytest.raises(ScaleMissing):
        find_tissue(slide)


def test_same_bits_again(section):
    results = []
    for _ in range(2):
        with open_slide(section) as slide:
            results.append(find_tissue(slide))
    assert np.array_equal(results[0].mask, results[1].mask)


# The tiles come without a scale; these are the um/px at which their nuclei have the right size.
TILES = {"level1": 1.0, "level2": 4.0}


@pytest.mark.real
def test_real_tiles(real_tiles):
    seen = 0
    for path in sorted(real_tiles.glob("*.png")):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        usual = next((mpp for name, mpp in TILES.items() if name in path.name), 0.5)
        for mpp in {usual, usual / 2 if usual > 1 else usual, 2 * usual}:
            judged = judge_image(rgb, mpp=mpp)
            case = f"{path.name} at {mpp} um/px: {judged}"
            if path.name.startswith(("almost-white", "no-tissue")):
                assert judged.blank, case
            if "pen" in path.name:
                assert judged.penned, case
            else:
                assert not judged.penned, case
            if path.name.startswith("tissue"):
                assert judged.tissue_fraction > 0.6, case
            if path.name.startswith(("high", "medium")):
                assert not judged.blank, case
        seen += 1
    assert seen == 15


@pytest.mark.real
def test_real_slides(real_slides):
    areas = {}
    for name in ("CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs", "CRC-AI-15_X40_IHC.tif", "A_BB_563479_1.svs"):
        with open_slide(real_slides / name, mpp=0.5) as slide:
            tissue = find_tissue(slide)
        areas[name[:3]] = tissue.area_mm2
        assert not tissue.pen.any(), name
    assert 0.55 < areas["CMU"] < 0.75
    assert 2.3 < areas["TCG"] < 2.8
    assert 0.2 < areas["CRC"] < 0.9
    assert areas["A_B"] < 0.05


@pytest.mark.real
def test_a_real_crop_that_is_all_tissue_keeps_its_tissue(real_slides):
    with open_slide(real_slides / "CMU-1-Small-Region.svs") as slide:
        dense = slide.read_region(1000, 1200, 512, 512)
    with open_slide(real_slides / "TCGA-CR-7395-01A-01-TS1.svs", mpp=0.5) as slide:
        pink = slide.read_region(1200, 1500, 1024, 1024)
    for crop in (dense, pink):
        judged = judge_image(crop, mpp=0.5)
        assert judged.tissue_fraction > 0.9
        assert not judged.penned
