"""When the next scan must be looked at."""

from pellucid.engine.pace import Pace


def test_a_fast_device_calls_for_the_next_scan_earlier() -> None:
    slow, fast = Pace(16, 1, lambda: 400), Pace(16, 1, lambda: 400)
    for pace, seconds in ((slow, 1.6), (fast, 0.016)):
        pace.encoded(16, seconds)
        pace.prepared(4.0)
    assert not slow.runs_out(unhashed=False)
    assert fast.runs_out(unhashed=False)


def test_a_file_that_must_be_hashed_before_takes_longer() -> None:
    pace = Pace(16, 1, lambda: 400)
    pace.encoded(16, 0.16)
    for _ in range(30):
        pace.prepared(1.0)
        pace.identified(60.0)
    assert not pace.runs_out(unhashed=False)
    assert pace.runs_out(unhashed=True)


def test_less_than_two_batches_always_runs_out() -> None:
    assert Pace(16, 1, lambda: 31).runs_out(unhashed=False)
    assert not Pace(16, 1, lambda: 32).runs_out(unhashed=False)
