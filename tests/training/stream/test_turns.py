"""Who stands in for a scan that failed."""

from dataclasses import replace

import pytest

import tile_slides
from pellucid.training.ranks import Ranks
from pellucid.training.stream import FailureBook, SlideFailure, SlidesFailing, StreamPlan
from pellucid.training.stream.turns import Turns

PLAN = StreamPlan(seed=1, epochs=6, share=0.5, max_failed=0.2)


@pytest.fixture(scope="module")
def one(pristine_slides):
    return tile_slides.all_scans(pristine_slides)[0]


def scans_of(one, labels):
    return [replace(one, digest=f"{nth:064x}", label=label) for nth, label in enumerate(labels)]


def failure_of(turn):
    return SlideFailure(
        step=turn.step,
        epoch=turn.epoch,
        position=turn.position,
        attempt=turn.attempt,
        scan=turn.scan.digest,
        slide=f"slide {turn.scan.digest[-2:]}",
        code="PEL-SLIDE-001",
        message="Gone.",
    )


@pytest.fixture
def turns(one, tmp_path):
    def make(labels=(0, 1) * 10, plan=PLAN):
        book = FailureBook(tmp_path / "failures.jsonl", Ranks())
        return Turns(scans_of(one, labels), plan, book), book

    return make


def test_substitute_is_of_the_same_label_and_not_seen_in_the_epoch(turns):
    rota, _ = turns()
    for step in range(rota.n_steps):
        turn = rota.of(step)
        other = rota.of(step, {turn.scan.digest})
        first = turn.epoch * rota.epoch_steps
        seen = {rota.of(number).scan.digest for number in range(first, first + rota.epoch_steps)}
        assert (turn.attempt, other.attempt) == (0, 1)
        assert other.scan.label == turn.scan.label
        assert other.scan.digest not in seen


def test_a_scan_of_the_epoch_stands_in_where_no_other_has_the_label(turns):
    rota, _ = turns(plan=replace(PLAN, share=1.0))
    turn = rota.of(3)
    other = rota.of(3, {turn.scan.digest})
    assert other.scan.label == turn.scan.label
    assert other.scan.digest != turn.scan.digest


def test_another_label_stands_in_where_none_is_left_and_then_it_is_over(turns):
    rota, _ = turns(labels=(1, 0, 0))
    step = next(step for step in range(rota.n_steps) if rota.of(step).scan.label == 1)
    failed = {rota.of(step).scan.digest}
    assert rota.of(step, failed).scan.label == 0
    with pytest.raises(SlidesFailing, match=f"At step {step} no scan is left"):
        rota.of(step, {f"{nth:064x}" for nth in range(3)})


def test_a_failed_scan_stands_in_for_nobody_in_its_epoch_and_is_tried_again_in_the_next(turns):
    rota, book = turns(labels=(0,) * 4, plan=replace(PLAN, share=1.0))
    broken = rota.of(0)
    book.record([failure_of(broken)])
    for step in range(1, 4):
        assert rota.of(step, {rota.of(step).scan.digest}).scan.digest != broken.scan.digest
    again = [rota.of(step) for step in range(4, 8)]
    assert broken.scan.digest in {turn.scan.digest for turn in again if turn.attempt == 0}


def test_whose_turn_it_is_depends_on_earlier_steps_only(turns):
    rota, book = turns()
    before = [rota.of(step).scan.digest for step in range(25)]
    book.record([failure_of(rota.of(25))])
    assert [rota.of(step).scan.digest for step in range(25)] == before
    assert rota.of(25).attempt == 1


def test_an_epoch_with_too_many_failures_ends_the_training(turns):
    rota, book = turns()
    found = [failure_of(rota.of(0))]
    rota.check(found)
    book.record(found)
    book.record([failure_of(rota.of(1))])
    with pytest.raises(
        SlidesFailing, match=r"3 scans failed in epoch 0 of 10 steps, more than 2.*slide .*PEL-SLIDE-001"
    ):
        rota.check([failure_of(rota.of(2))])
    rota.check([failure_of(rota.of(10))])


def test_failures_in_a_row_end_the_training(turns):
    rota, _ = turns(plan=replace(PLAN, in_a_row=2, max_failed=1.0))
    first = rota.of(0)
    second = rota.of(0, {first.scan.digest})
    rota.check([failure_of(first)])
    with pytest.raises(SlidesFailing, match="2 slides in a row can't be read at step 0"):
        rota.check([failure_of(first), failure_of(second)])
