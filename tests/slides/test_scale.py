"""The scale: what the file claims, what a person states, and when neither is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.errors import PellucidError
from pellucid.domain.scan import Scale, ScaleSource, ScanInfo
from pellucid.slides import (
    ScaleAbsurd,
    ScaleContradicted,
    ScaleMissing,
    ScaleTooCoarse,
    check_resolution,
    open_slide,
    require_scale,
)
from pellucid.slides.properties import number
from pellucid.slides.scale import choose_scale, mean_mpp


def info(claimed=None, *, y=None, power=None, override=None):
    pair = None if claimed is None else (claimed, claimed if y is None else y)
    return ScanInfo(
        width=1000,
        height=1000,
        level_downsamples=(1.0,),
        vendor="x",
        reader="x",
        scale=choose_scale(pair, "openslide.mpp-x", power, override, "override"),
        claimed_mpp=None if pair is None else mean_mpp(*pair),
        objective_power=power,
        scanner=None,
        synthetic=False,
    )


@pytest.mark.parametrize(
    ("scan", "problem"),
    [
        (info(), ScaleMissing),
        (info(override=0.5), None),
        (info(0.5), None),
        (info(0.05), None),
        (info(5.0), None),
        (info(0.049), ScaleAbsurd),
        (info(0.0), ScaleAbsurd),
        (info(-0.5), ScaleAbsurd),
        (info(1000.0), ScaleAbsurd),
        (info(100.1), ScaleAbsurd),
        (info(1000.0, override=0.5), None),
        (info(0.01, override=0.5), None),
        (info(5.01), ScaleTooCoarse),
        (info(28.97), ScaleTooCoarse),
        (info(28.97, override=0.5), ScaleTooCoarse),
        (info(100.0, override=0.5), ScaleTooCoarse),
        (info(override=0.04), ScaleAbsurd),
        (info(override=5.1), ScaleAbsurd),
        (info(0.5, override=50.0), ScaleAbsurd),
        (info(0.50, y=0.52), None),
        (info(0.50, y=0.53), ScaleContradicted),
        (info(0.5, power=20), None),
        (info(0.35, power=20), None),
        (info(0.25, power=20), ScaleContradicted),
        (info(0.5, power=40), ScaleContradicted),
        (info(0.5, power=40, override=0.25), None),
        (info(0.5, override=0.55), None),
        (info(0.5, override=0.25), ScaleContradicted),
        (info(0.5, override=0.61), ScaleContradicted),
    ],
)
def test_rules(scan, problem):
    if problem is None:
        assert require_scale(scan) is scan.scale
        return
    with pytest.raises(problem):
        require_scale(scan)


@pytest.mark.parametrize("scan", [info(), info(1000.0), info(0.5, power=40)])
def test_remedy_names_the_override(scan):
    with pytest.raises(PellucidError) as caught:
        require_scale(scan)
    assert "--mpp" in caught.value.remedy
    assert "`mpp` column" in caught.value.remedy


@given(
    claimed=st.none() | st.floats(-1e6, 1e6),
    power=st.none() | st.floats(1, 100),
    override=st.none() | st.floats(-1e3, 1e3),
)
def test_an_accepted_scale_is_always_that_of_a_microscope(claimed, power, override):
    try:
        scale = require_scale(info(claimed, power=power, override=override))
    except PellucidError:
        return
    assert 0.05 <= scale.mpp <= 5.0000001
    assert scale.source is (ScaleSource.FILE if override is None else ScaleSource.OVERRIDE)


def test_resolution():
    def scale(mpp):
        return Scale(mpp_x=mpp, mpp_y=mpp, source=ScaleSource.FILE, detail="x")

    check_resolution(scale(0.25), mpp=0.5, tolerance=0.05)
    check_resolution(scale(0.52), mpp=0.5, tolerance=0.05)
    with pytest.raises(ScaleTooCoarse):
        check_resolution(scale(0.53), mpp=0.5, tolerance=0.05)


@pytest.mark.parametrize(
    ("text", "value"), [("0.499", 0.499), ("0,2528", 0.2528), (" 20 ", 20.0), ("", None), ("nan", None), (None, None)]
)
def test_numbers_as_files_write_them(text, value):
    assert number(text) == value


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "without", "with_override"),
    [
        ("CMU-1-Small-Region.svs", None, None),
        ("TCGA-CR-7395-01A-01-TS1.svs", ScaleMissing, None),
        ("A_BB_563479_1.svs", ScaleAbsurd, None),
        ("N1_BB_563479_1.ndpi", ScaleAbsurd, None),
        ("N2_BB_563479_1.ndpi", ScaleAbsurd, None),
        ("Z_BB_563479_1.tif", ScaleAbsurd, None),
        ("CRC-AI-15_X40_IHC.tif", ScaleAbsurd, None),
        ("multiframe_camelyon_challenge_image.dcm", ScaleTooCoarse, ScaleTooCoarse),
        ("not_a_slide_mask.tiff", ScaleMissing, None),
    ],
)
def test_real_files(real_slides, name, without, with_override):
    for mpp, problem in ((None, without), (0.5, with_override)):
        with open_slide(real_slides / name, mpp=mpp) as slide:
            if problem is None:
                assert require_scale(slide.info).mpp == pytest.approx(0.5, rel=0.01)
            else:
                with pytest.raises(problem):
                    require_scale(slide.info)


@pytest.mark.real
def test_an_override_that_contradicts_a_good_claim_is_refused_at_once(real_slides):
    with pytest.raises(ScaleContradicted):
        open_slide(real_slides / "CMU-1-Small-Region.svs", mpp=0.25)
    with pytest.raises(ScaleAbsurd):
        open_slide(real_slides / "CMU-1-Small-Region.svs", mpp=50.0)
