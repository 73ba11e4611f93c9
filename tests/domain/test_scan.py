"""Scale in um/px and what magnification that amounts to."""

from dataclasses import replace

import pytest

from pellucid.domain.scan import Scale, ScaleSource, ScanInfo

_INFO = ScanInfo(
    width=10,
    height=10,
    level_downsamples=(1.0,),
    vendor="v",
    reader="r",
    scale=Scale(mpp_x=0.5, mpp_y=0.5, source=ScaleSource.FILE, detail="d"),
    claimed_mpp=0.5,
    objective_power=None,
    scanner=None,
    synthetic=False,
)


def test_the_scale_of_both_directions_is_their_geometric_mean() -> None:
    assert Scale(mpp_x=0.2, mpp_y=0.8, source=ScaleSource.OVERRIDE, detail="d").mpp == pytest.approx(0.4)


def test_half_a_micron_a_pixel_is_twenty_times() -> None:
    assert _INFO.magnification == pytest.approx(20.0)


def test_without_a_scale_there_is_no_magnification_to_guess() -> None:
    assert replace(_INFO, scale=None, objective_power=40.0).magnification is None
