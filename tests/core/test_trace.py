"""A trace stays small, survives its file, and is what trace viewers read."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.core.telemetry.trace import MOST_MERGED, Trace, read_trace

START = 1_700_000_000.0


def small() -> Trace:
    trace = Trace("F-7K3QW9TD", run_id="run-1")
    trace.add("prepare", "reader 1", start=START, duration=2.0, tiles=64)
    for step in range(10):
        trace.merge("read", "reader 1", start=START + 2 + step / 10, duration=0.05, count=16)
        trace.merge("encode", "device 0", start=START + 2.05 + step / 10, duration=0.02, count=16)
    trace.add("passes", "posterior 0", start=START + 3.5, duration=0.5)
    return trace


def test_repeated_steps_of_a_process_and_second_are_one_span() -> None:
    spans = small().spans

    assert [(span.name, span.process) for span in spans] == [
        ("prepare", "reader 1"),
        ("read", "reader 1"),
        ("encode", "device 0"),
        ("passes", "posterior 0"),
    ]
    read = spans[1]
    assert read.attributes == {"count": 160, "busy_s": 0.5}
    assert read.start == START + 2
    assert read.end == pytest.approx(START + 2.95)


def test_a_trace_comes_back_from_its_file(tmp_path: Path) -> None:
    trace = small()
    trace.write(tmp_path / "scan" / "trace.json")
    back = read_trace(tmp_path / "scan" / "trace.json")

    assert (back.scan, back.run_id) == ("F-7K3QW9TD", "run-1")
    for one, other in zip(back.spans, trace.spans, strict=True):
        assert (one.name, one.process, one.attributes) == (other.name, other.process, other.attributes)
        assert one.start == pytest.approx(other.start, abs=1e-5)
        assert one.duration == pytest.approx(other.duration, abs=1e-5)


def test_the_file_is_in_the_trace_event_format(tmp_path: Path) -> None:
    small().write(tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text())

    complete = [event for event in document["traceEvents"] if event["ph"] == "X"]
    named = {event["tid"]: event["args"]["name"] for event in document["traceEvents"] if event["name"] == "thread_name"}
    assert len(complete) == 4
    assert complete[0]["ts"] == 0
    assert complete[0]["dur"] == 2_000_000
    assert all(isinstance(event[key], int) for event in complete for key in ("pid", "tid", "ts", "dur"))
    assert {named[event["tid"]] for event in complete} == {"reader 1", "device 0", "posterior 0"}


@given(st.lists(st.tuples(st.integers(0, 63), st.floats(0, 1e5)), min_size=1, max_size=3000))
def test_a_long_scan_keeps_a_small_trace_and_its_sums(steps: list[tuple[int, float]]) -> None:
    trace = Trace("F-1")
    for reader, at in steps:
        trace.merge("read", f"reader {reader}", start=START + at, duration=0.25, count=16)
    spans = trace.spans

    assert len(spans) <= MOST_MERGED
    assert sum(int(span.attributes["count"]) for span in spans) == 16 * len(steps)
    assert sum(float(span.attributes["busy_s"]) for span in spans) == pytest.approx(0.25 * len(steps))
    assert min(span.start for span in spans) == START + min(at for _, at in steps)
    assert max(span.end for span in spans) == pytest.approx(START + max(at for _, at in steps) + 0.25)


def test_more_processes_than_spans_end_in_one_span_each() -> None:
    trace = Trace("F-1")
    for reader in range(MOST_MERGED + 50):
        trace.merge("read", f"reader {reader}", start=START, duration=0.1)

    assert len(trace.spans) == MOST_MERGED + 50


@pytest.mark.parametrize(("start", "duration"), [(math.nan, 1.0), (START, math.inf), (START, -1.0)])
def test_a_step_of_no_defined_time_is_left_out(start: float, duration: float) -> None:
    trace = Trace("F-1")
    trace.add("read", "reader 1", start=start, duration=duration)
    trace.merge("read", "reader 1", start=start, duration=duration)

    assert trace.spans == ()


def test_an_empty_trace_can_be_written(tmp_path: Path) -> None:
    Trace("F-1").write(tmp_path / "trace.json")

    assert read_trace(tmp_path / "trace.json").spans == ()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"otherData": {"format": 9}}', '{"traceEvents": []}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "trace.json").write_text(content)

    with pytest.raises(ValueError):
        read_trace(tmp_path / "trace.json")
