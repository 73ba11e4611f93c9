import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.training.checkpoints import Interval


def test_the_interval_is_youngs_from_the_mean_cost_of_the_last_five():
    interval = Interval(failure_s=12 * 3600, started=0.0)
    for cost in (500.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        interval.saved(cost, 100.0)
    assert interval.cost_s == 6.0
    assert interval.length_s == pytest.approx(math.sqrt(2 * 6 * 12 * 3600))
    assert not interval.due(100.0 + interval.length_s - 0.001)
    assert interval.due(100.0 + interval.length_s)


@pytest.mark.parametrize(("cost", "length"), [(0.001, 300.0), (0.0, 300.0), (600.0, 1800.0)])
def test_the_interval_is_held_between_its_bounds(cost, length):
    interval = Interval(started=0.0)
    interval.saved(cost, 0.0)
    assert interval.length_s == length


def test_the_first_is_due_after_a_minute_to_learn_what_it_costs():
    interval = Interval(started=1000.0)
    assert (interval.cost_s, interval.overhead) == (0.0, 0.0)
    assert not interval.due(1059.0)
    assert interval.due(1060.0)
    assert Interval(least_s=0.0, most_s=0.0, started=5.0).due(5.0)


def test_a_failed_one_is_tried_again_after_the_shortest_interval():
    interval = Interval(started=0.0)
    interval.failed(60.0)
    assert not interval.due(359.0)
    assert interval.due(360.0)
    interval.saved(20.0, 400.0)
    interval.failed(2000.0)
    assert interval.due(2300.0)
    interval.saved(20.0, 2300.0)
    assert not interval.due(2600.0)
    assert interval.since(2600.0) == 300.0


@given(st.floats(0, 5), st.floats(6 * 3600, 96 * 3600))
def test_a_save_under_five_seconds_costs_less_than_two_hundredths(cost, failure):
    interval = Interval(failure_s=failure, started=0.0)
    interval.saved(cost, 0.0)
    assert interval.overhead < 0.02


@pytest.mark.parametrize("wrong", [{"least_s": 5, "most_s": 4}, {"failure_s": 0}, {"least_s": -1}])
def test_bounds_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError, match="no interval"):
        Interval(**wrong)
