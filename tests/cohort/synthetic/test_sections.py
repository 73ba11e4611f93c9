import dataclasses

import numpy as np
import openslide
import pytest

from pellucid.cohort import ScanKind, SynthesisConfig
from pellucid.cohort.synthetic.canvas import Part
from pellucid.cohort.synthetic.layout import lay_out
from pellucid.cohort.synthetic.plan import plan_cohort
from pellucid.cohort.synthetic.scans import draw_scan, write_drawn
from pellucid.cohort.synthetic.stain import SCANNER_PROFILES, expose
from pellucid.cohort.synthetic.tissue import GLASS, TUMOUR, paint_section
from pellucid.core.seeds import generator

PLAN = dataclasses.replace(
    plan_cohort(SynthesisConfig(n_training=1, n_tuning=0, n_test=0, special=()))[0],
    label=1,
    side_px=2048,
    mpp=0.5,
    specimen_type="resection",
    generic_tiff=False,
    label_page=True,
)


def section(plan, seed=0, px_per_um=2):
    draw = generator("test", seed)
    return paint_section(lay_out(plan, draw), plan.side_px, px_per_um, draw)


def glandular_share(strength, seed):
    parts = section(dataclasses.replace(PLAN, strength=strength), seed).parts
    glands = np.isin(parts, (Part.GLAND, Part.LUMEN)).sum()
    return glands / (glands + (parts == Part.SOLID).sum())


def test_the_architecture_follows_the_lean():
    shares = [[glandular_share(strength, seed) for seed in range(3)] for strength in (-0.9, 0.0, 0.9)]
    wild, mixed, mutated = (np.mean(of_strength) for of_strength in shares)
    assert wild < 0.2
    assert 0.3 < mixed < 0.7
    assert mutated > 0.8


def test_the_nuclei_of_glands_are_paler_than_those_of_nests():
    painted = section(dataclasses.replace(PLAN, strength=0.0))
    nuclei = painted.haematoxylin > 45
    in_glands = painted.haematoxylin[nuclei & (painted.parts == Part.GLAND)].mean()
    in_nests = painted.haematoxylin[nuclei & (painted.parts == Part.SOLID)].mean()
    assert in_glands < 0.8 * in_nests


def test_glass_carries_no_stain():
    painted = section(PLAN)
    for density in (painted.haematoxylin, painted.eosin):
        assert density[painted.parts == Part.GLASS].max() == 0


def test_one_section_on_two_scanners_differs_in_colour_and_not_in_place():
    painted = section(PLAN)
    pictures = [
        expose(painted, SCANNER_PROFILES[name], generator("test", name), immunostained=False)
        for name in ("SYN-A", "SYN-C")
    ]
    first, second = (picture.astype(float).mean(axis=2) for picture in pictures)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
    assert np.abs(pictures[0].mean(axis=(0, 1)) - pictures[1].mean(axis=(0, 1))).max() > 3


def test_a_fine_scan_is_of_the_same_tissue_at_twice_the_resolution(tmp_path):
    plan = dataclasses.replace(PLAN, mpp=0.25, side_px=2048, kind=ScanKind.CLEAR)
    drawn = draw_scan(plan, 1)
    assert drawn.truth.shape == (64, 64)
    write_drawn(drawn, plan, tmp_path / "fine.svs")
    with openslide.OpenSlide(tmp_path / "fine.svs") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert slide.properties["openslide.objective-power"] == "40"
        assert slide.dimensions == (2048, 2048)


@pytest.mark.parametrize("kind", [ScanKind.TUMOUR_FREE, ScanKind.CLEAR, ScanKind.FOREIGN])
def test_tumour_lies_within_tissue_and_is_absent_where_none_is_planted(kind):
    truth = section(dataclasses.replace(PLAN, kind=kind)).truth
    assert (truth == TUMOUR).any() == (kind is not ScanKind.TUMOUR_FREE)
    assert (truth == GLASS).any()


def test_a_foreign_tumour_is_without_glands_and_tells_nothing_of_the_label():
    foreign = dataclasses.replace(PLAN, kind=ScanKind.FOREIGN, strength=0.9)
    painted = [section(dataclasses.replace(foreign, label=label)) for label in (0, 1)]
    assert (painted[0].parts == Part.SOLID).mean() > 0.05
    # the softened edge of a vessel takes values between its own and its surroundings'
    assert (painted[0].parts == Part.GLAND).mean() < 1e-3
    assert (painted[0].haematoxylin == painted[1].haematoxylin).all()
    assert (painted[0].eosin == painted[1].eosin).all()


def test_a_foreign_tumour_is_denser_than_nests():
    foreign, nests = (
        section(dataclasses.replace(PLAN, kind=kind, strength=-0.9, label=1))
        for kind in (ScanKind.FOREIGN, ScanKind.CLEAR)
    )
    densities = [painted.haematoxylin[painted.parts == Part.SOLID].mean() for painted in (foreign, nests)]
    assert densities[0] > 1.3 * densities[1]
