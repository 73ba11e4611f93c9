import cv2
import numpy as np
import openslide
import pytest

from pellucid.cohort import ScanKind, read_cohort, read_truth, truth_mask
from pellucid.cohort.synthetic.kinds import MARK


@pytest.fixture(scope="module")
def scans(synthetic_folder):
    truths = read_truth(synthetic_folder)
    return [(entry, truths[entry.path.stem]) for entry in read_cohort(synthetic_folder / "cohort.csv").entries]


def of_kind(scans, *kinds):
    return [(entry, truth) for entry, truth in scans if truth.kind in kinds]


def thumbnail(path, side):
    with openslide.OpenSlide(path) as slide:
        last = slide.level_count - 1
        whole = np.asarray(slide.read_region((0, 0), last, slide.level_dimensions[last]).convert("RGB"))
    return cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)


READABLE = [
    kind for kind in ScanKind if kind not in (ScanKind.TRUNCATED, ScanKind.CORRUPT_TILE, ScanKind.CORRUPT_TILES)
]


def test_openslide_opens_every_readable_kind_and_reads_it_whole(scans):
    for entry, _ in of_kind(scans, *READABLE):
        with openslide.OpenSlide(entry.path) as slide:
            assert slide.properties["openslide.vendor"] == ("aperio" if entry.path.suffix == ".svs" else "generic-tiff")
            assert slide.level_downsamples[1] == pytest.approx(4.0, rel=0.01)
            slide.read_region((0, 0), 0, slide.dimensions)


def test_both_containers_are_present(scans):
    assert {entry.path.suffix for entry, _ in scans} == {".svs", ".tif"}


def test_every_file_is_marked_synthetic_in_its_metadata(scans):
    for entry, _ in of_kind(scans, *READABLE):
        with openslide.OpenSlide(entry.path) as slide:
            assert MARK in slide.properties["tiff.ImageDescription"]
            assert MARK in slide.properties["tiff.Software"]


def test_the_scale_stated_is_the_true_one_except_where_planted_otherwise(scans):
    for entry, truth in of_kind(scans, *READABLE):
        with openslide.OpenSlide(entry.path) as slide:
            stated = slide.properties.get("openslide.mpp-x")
            power = slide.properties.get("openslide.objective-power")
        if truth.kind is ScanKind.SCALE_MISSING:
            assert stated is None
            assert power is None
        else:
            assert float(stated) == pytest.approx(truth.mpp)
            if power is not None:
                contradicted = truth.kind is ScanKind.MIS_SCALED
                assert float(power) == pytest.approx((20.0 if contradicted else 10.0) / truth.mpp)


def test_glass_is_near_white_and_tissue_pink_or_purple_not_magenta_by_a_wrong_colour_space(scans):
    for entry, truth in of_kind(scans, ScanKind.CLEAR, ScanKind.AMBIGUOUS, ScanKind.TUMOUR_FREE):
        mask, _ = truth_mask(entry.path.parents[1], entry.path)
        picture = thumbnail(entry.path, mask.shape[0]).astype(float)
        assert picture[mask == 0].mean(axis=0).min() > 215, truth
        red, green, blue = picture[mask > 0].mean(axis=0)
        assert green < red
        assert green < blue
        assert green > 80


def test_the_truth_covers_what_was_drawn(scans):
    for entry, truth in of_kind(scans, ScanKind.CLEAR, ScanKind.TUMOUR_FREE, ScanKind.NEARLY_EMPTY):
        mask, um = truth_mask(entry.path.parents[1], entry.path)
        assert um == 8.0
        picture = thumbnail(entry.path, mask.shape[0])
        stained = (picture.max(axis=2).astype(int) - picture.min(axis=2) > 22).astype(np.uint8)
        closed = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0
        overlap = (closed & (mask > 0)).sum() / (closed | (mask > 0)).sum()
        assert overlap > 0.85, (truth.kind, overlap)


def test_tumour_is_more_cellular_than_the_rest(scans):
    differences = []
    for entry, _ in of_kind(scans, ScanKind.CLEAR, ScanKind.AMBIGUOUS):
        mask, _ = truth_mask(entry.path.parents[1], entry.path)
        red = thumbnail(entry.path, mask.shape[0])[:, :, 0].astype(float)
        differences.append(red[mask == 2].mean() - red[mask == 1].mean())
    assert np.median(differences) < -5


def test_tumour_fractions_match_the_masks(scans):
    for entry, truth in scans:
        mask, _ = truth_mask(entry.path.parents[1], entry.path)
        assert truth.tumour_fraction == pytest.approx((mask == 2).sum() / (mask > 0).sum(), abs=1e-6)
        if truth.kind is not ScanKind.NEARLY_EMPTY:
            assert (truth.tumour_fraction == 0) == (truth.kind is ScanKind.TUMOUR_FREE)


def test_a_nearly_empty_scan_has_little_tissue(scans):
    ((entry, _),) = of_kind(scans, ScanKind.NEARLY_EMPTY)
    mask, um = truth_mask(entry.path.parents[1], entry.path)
    assert 0.005 < (mask > 0).sum() * um**2 / 1e6 < 0.15


def test_a_blurred_scan_has_no_fine_detail(scans):
    def detail(entry):
        mask, _ = truth_mask(entry.path.parents[1], entry.path)
        row, column = np.argwhere(mask == mask.max())[(mask == mask.max()).sum() // 2]
        with openslide.OpenSlide(entry.path) as slide:
            region = slide.read_region((int(column) * 16 - 128, int(row) * 16 - 128), 0, (256, 256)).convert("L")
        return cv2.Laplacian(np.asarray(region), cv2.CV_64F).var()

    blurred = [detail(entry) for entry, _ in of_kind(scans, ScanKind.BLURRED)]
    sharp = [detail(entry) for entry, _ in of_kind(scans, ScanKind.CLEAR)]
    assert max(blurred) < 0.5 * min(sharp)


def test_an_immunostained_scan_is_brown_in_tumour(scans):
    ((entry, _),) = of_kind(scans, ScanKind.IMMUNOSTAINED)
    mask, _ = truth_mask(entry.path.parents[1], entry.path)
    red, green, blue = thumbnail(entry.path, mask.shape[0])[mask == 2].astype(float).mean(axis=0)
    assert red > green > blue


def test_one_corrupt_tile_leaves_the_others_readable(scans):
    def unreadable(entry):
        count = 0
        with openslide.OpenSlide(entry.path) as slide:
            width, height = slide.dimensions
        for y in range(0, height - 255, 256):
            for x in range(0, width - 255, 256):
                # OpenSlide refuses everything after its first error, so each tile gets a handle of its own.
                with openslide.OpenSlide(entry.path) as slide:
                    try:
                        slide.read_region((x, y), 0, (256, 256))
                    except openslide.OpenSlideError:
                        count += 1
        return count

    ((one, _),) = of_kind(scans, ScanKind.CORRUPT_TILE)
    ((many, _),) = of_kind(scans, ScanKind.CORRUPT_TILES)
    assert unreadable(one) == 1
    assert unreadable(many) > 1


def test_a_truncated_scan_does_not_open(scans):
    ((entry, _),) = of_kind(scans, ScanKind.TRUNCATED)
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(entry.path)


def test_some_scans_carry_a_label_image_with_made_up_identity(scans):
    found = set()
    for entry, _ in of_kind(scans, *READABLE):
        with openslide.OpenSlide(entry.path) as slide:
            found |= set(slide.associated_images)
    assert {"thumbnail", "label", "macro"} <= found
