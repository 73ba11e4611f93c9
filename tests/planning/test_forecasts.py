"""Forecasts agree with what is known of them, and the plan is the smallest that meets its targets."""

from dataclasses import replace

import pytest

from pellucid.planning import (
    Arrivals,
    Failures,
    Limits,
    Profile,
    Scenario,
    SlideSizes,
    Targets,
    assumptions,
    default_rates,
    forecast,
    given,
    make_plan,
)

RATES = given(default_rates(), tiles_per_s=100.0, before_s=0.0, after_s=0.0, mb_per_slide=0.0)


def site(load=0.6, n_gpus=1, profile=Profile.EVEN, **changes):
    """A site whose work is `load` of what `n_gpus` do; an average slide takes a minute."""
    per_day = load * n_gpus * 1440 * (1 if profile is Profile.EVEN else 7 / 5)
    values = {
        "arrivals": Arrivals(slides_per_day=per_day, stat_share=0.1, profile=profile, rack=20),
        "sizes": SlideSizes(mean=6000, spread=0.5),
        "rates": RATES,
    }
    return Scenario(**(values | changes))


def test_the_accelerators_work_as_much_as_comes():
    found = forecast(site(0.6), 1)
    assert found.load == pytest.approx(0.6)
    assert found.utilisation.mean == pytest.approx(0.6, rel=0.04)
    assert found.utilisation.low < 0.6 < found.utilisation.high
    assert not found.backlog_grows


def test_a_slide_that_meets_nobody_takes_its_own_time():
    arrivals = Arrivals(slides_per_day=10, stat_share=0.0, profile=Profile.EVEN)
    found = forecast(site(arrivals=arrivals, sizes=SlideSizes(mean=6000, spread=0.0)), 2)
    assert found.routine_p50_s.mean == pytest.approx(60.0)
    assert found.stat_p50_s is None
    assert found.stat_p95_s is None


def test_urgent_slides_hardly_wait():
    found = forecast(site(0.9), 1)
    assert found.stat_p95_s.high < found.routine_p95_s.low
    assert found.stat_p50_s.mean < 3 * 60


@pytest.mark.parametrize("profile", list(Profile))
def test_a_growing_backlog_is_seen(profile):
    assert forecast(site(1.15, profile=profile), 1, replicates=5).backlog_grows
    assert not forecast(site(0.5, profile=profile), 1, replicates=5).backlog_grows


def test_the_same_seed_gives_the_same_forecast():
    assert forecast(site(), 1, replicates=3, seed=5) == forecast(site(), 1, replicates=3, seed=5)
    assert forecast(site(), 1, replicates=3, seed=5) != forecast(site(), 1, replicates=3, seed=6)


def test_more_accelerators_are_never_slower():
    found = [forecast(site(0.9, n_gpus=4, profile=Profile.UNLOAD), count, replicates=3) for count in (4, 5, 6, 9)]
    p95 = [one.routine_p95_s.mean for one in found]
    assert p95 == sorted(p95, reverse=True)
    assert p95[0] > 1.2 * p95[-1]


def test_a_rack_takes_longer_than_slides_one_by_one():
    office, rack = (
        forecast(site(0.2, profile=profile), 1, replicates=3) for profile in (Profile.OFFICE, Profile.UNLOAD)
    )
    assert rack.routine_p95_s.low > office.routine_p95_s.high


def test_losses_cost_time_and_load():
    scenario = site(0.6)
    broken = replace(scenario, failures=Failures(mean_up_s=8 * 3600, down_s=2 * 3600, notice_s=120))
    whole, lossy = forecast(scenario, 1), forecast(broken, 1)
    assert lossy.load == pytest.approx(0.6 / 0.8)
    assert lossy.routine_p95_s.low > whole.routine_p95_s.high


def test_time_outside_of_the_accelerator_is_counted():
    slow = replace(site(), rates=given(RATES, before_s=100.0, after_s=50.0, mb_per_slide=4000.0, hash_mb_per_s=100.0))
    added = forecast(slow, 1, replicates=3).routine_p50_s.mean - forecast(site(), 1, replicates=3).routine_p50_s.mean
    assert added == pytest.approx(190.0, abs=3)


def test_storage_that_is_too_slow_is_what_bounds():
    scenario = replace(site(0.5), limits=Limits(storage_mb_per_s=100.0 * RATES.mb_per_tile.value * 0.4))
    found = forecast(scenario, 1, replicates=2)
    assert found.bound_by == "storage"
    assert found.tile_rate == pytest.approx(40.0)
    assert found.backlog_grows
    made = make_plan(scenario, Targets(), most=5)
    assert made.smallest is None
    assert "can't do the work" in made.why_none


def test_the_plan_is_the_smallest_that_meets_its_targets():
    scenario = site(0.9, n_gpus=2, profile=Profile.OFFICE)
    targets = Targets(routine_p95_s=3600.0, stat_p95_s=240.0)
    made = make_plan(scenario, targets, n_gpus=1, replicates=4)
    assert made.asked.n_gpus == 1
    assert targets.met_by(made.smallest)
    assert made.smallest.n_gpus > 2
    assert not targets.met_by(forecast(scenario, made.smallest.n_gpus - 1, replicates=4))


def test_without_targets_the_backlog_decides():
    assert make_plan(site(0.95, n_gpus=3), Targets(), replicates=4).smallest.n_gpus == 3


def test_a_target_that_no_accelerator_can_meet_is_said():
    made = make_plan(site(), Targets(stat_p95_s=20.0), most=4, replicates=3)
    assert made.smallest is None
    assert "STAT 95%" in made.why_none
    assert "an average slide that waits for nothing takes 60 s" in made.why_none


def test_assumptions_say_what_was_not_measured():
    said = " ".join(
        assumptions(Scenario(arrivals=Arrivals(slides_per_day=1), sizes=SlideSizes(), rates=default_rates()))
    )
    assert "computed, not measured" in said
    assert "H100" in said
    assert "No accelerator is ever lost" in said


@pytest.mark.slow
def test_two_hundred_accelerators_are_planned_in_time():
    scenario = site(0.9, n_gpus=200)
    found = forecast(scenario, 200, replicates=1)
    assert found.utilisation.mean == pytest.approx(0.9, rel=0.03)
