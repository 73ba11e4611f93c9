"""The time that is left: from medians, with validations and checkpoints."""

import pytest

from pellucid.training.journal.pace import Pace


def paced(steps, *, epochs=(), saves=()):
    pace = Pace()
    for seconds in steps:
        pace.step(seconds)
    for seconds in epochs:
        pace.epoch(seconds)
    for seconds in saves:
        pace.save(seconds)
    return pace


def test_nothing_is_foretold_before_the_first_step():
    assert Pace().left_s(10, 1, 600) is None


def test_one_slow_step_moves_nothing():
    assert paced([2.0] * 20 + [500.0]).left_s(10, 0, 600) == pytest.approx(20)


def test_only_recent_steps_count():
    assert paced([100.0] * 200 + [1.0] * 101).left_s(10, 0, 600) == pytest.approx(10)


def test_validations_and_checkpoints_are_counted():
    pace = paced([1.0] * 5, epochs=[30.0, 40.0, 50.0], saves=[4.0])

    # 1000 steps, 2 validations of 40 s, a save each 300 s of these 1080 and at each epoch's end
    assert pace.left_s(1000, 2, 300) == pytest.approx(1000 + 80 + (3 + 2) * 4)


def test_waiting_is_a_share_of_the_steps():
    pace = Pace()
    pace.step(2.0, 0.5)
    pace.step(2.0, 0.0)

    assert pace.waiting_share == pytest.approx(0.125)
    assert Pace().waiting_share == 0
