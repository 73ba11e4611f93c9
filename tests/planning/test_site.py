"""What a site is described by: arrivals, slide sizes, rates and their origin, needs."""

import numpy as np
import pytest

from pellucid.core.seeds import generator
from pellucid.domain.observation import Observation
from pellucid.planning import (
    Arrivals,
    Limits,
    Profile,
    SlideSizes,
    Source,
    default_rates,
    effective_rate,
    given,
    measured_rates,
    needs_of,
)
from pellucid.planning.arrivals import DAY_S, WEEK_S


def observation(n_tiles, error=None, **timings):
    return Observation(
        scan="s", specimen="p", run="r", at="t", purpose="score", scanner=None, strata={}, mpp=0.5, mpp_source="file",
        n_tiles=n_tiles, features={}, embedding=(), distance=None, mean_logit=None, sd_logit=None, probability=None,
        mutual_information=None, reasons=(), error=error, timings=timings, model="m", policy="p", software="s",
    )  # fmt: skip


@pytest.mark.parametrize("profile", list(Profile))
def test_slides_come_as_often_as_said(profile):
    arrivals = Arrivals(slides_per_day=400, stat_share=0.1, profile=profile, rack=20)
    times, stat = arrivals.draw(generator("arrivals", profile.value), 40)
    assert len(times) / 40 == pytest.approx(arrivals.slides_per_week, rel=0.03)
    assert stat.mean() == pytest.approx(0.1, rel=0.1)
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] <= times[-1] < 40 * WEEK_S


def test_office_slides_come_on_working_days_by_day():
    times, _ = Arrivals(slides_per_day=400, profile=Profile.OFFICE).draw(generator("office"), 4)
    day, time = np.divmod(times, DAY_S)
    assert set(day % 7) == {0, 1, 2, 3, 4}
    assert time.min() >= 7 * 3600
    assert time.max() <= 18 * 3600


def test_a_rack_comes_at_once_and_urgent_slides_alone():
    times, stat = Arrivals(slides_per_day=400, profile=Profile.UNLOAD, rack=20).draw(generator("rack"), 4)
    _, counts = np.unique(times[~stat], return_counts=True)
    assert set(counts) == {20}
    assert np.unique(times[stat], return_counts=True)[1].max() == 1


def test_sizes_have_the_mean_that_is_said():
    drawn = SlideSizes(mean=9000, spread=0.8).draw(generator("sizes"), 200_000)
    assert drawn.mean() == pytest.approx(9000, rel=0.02)
    assert np.log(drawn).std() == pytest.approx(0.8, rel=0.02)
    assert "assumed" in SlideSizes().describe()


def test_sizes_of_a_run_are_those_it_saw():
    seen = np.array([10, 400, 30_000])
    sizes = SlideSizes.of(seen)
    assert set(sizes.draw(generator("seen"), 1000)) == set(seen)
    assert sizes.mean == pytest.approx(seen.mean())
    assert "3 scans" in sizes.describe()
    for nothing in ([], [0, 5]):
        with pytest.raises(ValueError, match="at least one tile"):
            SlideSizes.of(np.array(nothing, dtype=np.int64))


def test_the_accelerators_rate_says_that_it_was_not_measured():
    assert default_rates().tiles_per_s.source is Source.COMPUTED


def test_a_run_measures_what_it_timed_and_leaves_the_rest():
    seen = [
        observation(1000, encode=10.0, read=2.0, open=1.0, quality=1.0, passes=3.0),
        observation(3000, encode=10.0, read=2.0, tissue=2.0, passes=1.0),
        observation(0, encode=500.0),
        observation(900, error="PEL-SLIDE-001", encode=500.0),
    ]
    rates = measured_rates(default_rates(), seen)
    assert rates.tiles_per_s.value == pytest.approx(200.0)
    assert rates.read_core_s.value == pytest.approx(0.001)
    assert rates.before_s.value == pytest.approx(2.0)
    assert rates.after_s.value == pytest.approx(2.0)
    assert rates.tiles_per_s.source is rates.after_s.source is Source.MEASURED
    assert rates.mb_per_slide == default_rates().mb_per_slide
    assert measured_rates(default_rates(), []) == default_rates()


def test_an_option_goes_before_a_default_and_says_so():
    rates = given(default_rates(), tiles_per_s=50.0, mb_per_slide=None)
    assert (rates.tiles_per_s.value, rates.tiles_per_s.source) == (50.0, Source.GIVEN)
    assert rates.mb_per_slide == default_rates().mb_per_slide
    with pytest.raises(ValueError, match="no rate"):
        given(default_rates(), speed=3.0)


def test_what_a_site_lacks_bounds_its_accelerators():
    rates = given(default_rates(), tiles_per_s=1000.0, read_core_s=0.001, mb_per_tile=0.05, mb_per_slide=0.0)
    assert effective_rate(rates, 4, Limits(), 0.0) == (1000.0, "the accelerator")
    assert effective_rate(rates, 4, Limits(cores=6), 0.0) == (pytest.approx(500.0), "the cores")
    assert effective_rate(rates, 4, Limits(storage_mb_per_s=100), 0.0) == (pytest.approx(500.0), "storage")
    hashing = given(rates, mb_per_slide=100.0)
    assert effective_rate(hashing, 4, Limits(storage_mb_per_s=100), 0.5)[0] == pytest.approx(250.0)
    assert effective_rate(hashing, 4, Limits(cores=1), 1000.0)[0] > 0


def test_needs_grow_with_accelerators():
    rates = given(default_rates(), read_core_s=0.001, mb_per_tile=0.05, mb_per_slide=400.0, hash_mb_per_s=400.0)
    needs = needs_of(rates, 2, 1000.0, 0.5)
    assert needs.cores == pytest.approx(2 * 1 + 0.5 + 2)
    assert needs.storage_mb_per_s == pytest.approx(2 * 50 + 200)
    assert needs_of(rates, 4, 1000.0, 0.5).memory_gb == pytest.approx(2 * needs.memory_gb)
