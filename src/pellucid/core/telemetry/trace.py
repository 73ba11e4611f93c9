"""One scan's way through the engine as spans, in the trace-event format that Perfetto and Chrome open.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format").
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pellucid.core.files import write_text

TRACE_NAME = "trace.json"
"""The file of a scan's trace, in the scan's folder."""
MOST_MERGED = 300
"""Repeated steps, such as reads of tiles, are merged into at most about so many spans, however long a scan takes."""
_FORMAT = 1
_US = 1e6
_LONGEST_S = 1e9

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step. `start` is in seconds since 1970, `duration` in seconds; `attributes` name no patient, path or file."""

    name: str
    process: str
    start: float
    duration: float
    attributes: dict[str, Attribute] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """When it ended, in seconds since 1970."""
        return self.start + self.duration


class Trace:
    """Collects the spans of one scan, named by its pseudonym.

    Not for several threads at once. A step of undefined length or time is left out: a trace must never end a run.
    """

    def __init__(self, scan: str, *, run_id: str = "", spans: Iterable[Span] = ()) -> None:
        self.scan = scan
        self.run_id = run_id
        self._spans = list(spans)
        self._merged: dict[tuple[str, str, int], Span] = {}
        self._width_s = 1.0

    def add(self, name: str, process: str, *, start: float, duration: float, **attributes: Attribute) -> None:
        """Add a step that happens once or a few times; `process` is such as "reader 2"."""
        if _is_time(start, duration):
            self._spans.append(
                Span(name=name, process=process, start=start, duration=duration, attributes=dict(attributes))
            )

    def merge(self, name: str, process: str, *, start: float, duration: float, count: int = 1) -> None:
        """Add a step that happens very often: those of one name, process and second become one span.

        Its `count` is the sum of the steps' (such as tiles), its `busy_s` that of their durations.
        """
        if not _is_time(start, duration):
            return
        self._gather(
            Span(
                name=name,
                process=process,
                start=start,
                duration=duration,
                attributes={"count": count, "busy_s": duration},
            )
        )
        if len(self._merged) > MOST_MERGED:
            self._coarsen()

    @property
    def spans(self) -> tuple[Span, ...]:
        """All spans by their start."""
        return tuple(sorted([*self._spans, *self._merged.values()], key=lambda span: (span.start, -span.duration)))

    def write(self, path: Path) -> None:
        """Write the trace-event file, whole or not at all.

        Raises:
            StorageFull: the disk is full.
        """
        write_text(path, json.dumps(self.to_events(), allow_nan=False, ensure_ascii=False) + "\n")

    def to_events(self) -> dict[str, Any]:
        """The trace as plain JSON: times in microseconds from the first span's start."""
        spans = self.spans
        start = spans[0].start if spans else 0.0
        tracks = {process: number for number, process in enumerate(dict.fromkeys(span.process for span in spans), 1)}
        return {
            "traceEvents": [*_names(self.scan, tracks), *(_event(span, tracks, start) for span in spans)],
            "displayTimeUnit": "ms",
            "otherData": {"format": _FORMAT, "scan": self.scan, "run": self.run_id, "start_s": start},
        }

    def _gather(self, span: Span) -> None:
        key = (span.name, span.process, math.floor(span.start / self._width_s))
        before = self._merged.get(key)
        self._merged[key] = span if before is None else _joined(before, span)

    def _coarsen(self) -> None:
        """Merge over longer times; down to half, so that it happens seldom."""
        while len(self._merged) > MOST_MERGED // 2 and self._width_s < _LONGEST_S:
            self._width_s *= 2
            spans, self._merged = list(self._merged.values()), {}
            for span in spans:
                self._gather(span)


def read_trace(path: Path) -> Trace:
    """A trace as written by `Trace.write`.

    Raises:
        OSError: the file can't be read.
        ValueError: it is no such trace.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        about = document["otherData"]
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']!r}, not {_FORMAT}")
        events = document["traceEvents"]
        tracks = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
        spans = [_span(event, tracks, about["start_s"]) for event in events if event["ph"] == "X"]
        return Trace(str(about["scan"]), run_id=str(about["run"]), spans=spans)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no trace of Pellucid: {error!r}") from error


def _is_time(start: float, duration: float) -> bool:
    return math.isfinite(start) and math.isfinite(duration) and duration >= 0


def _joined(one: Span, other: Span) -> Span:
    start, end = min(one.start, other.start), max(one.end, other.end)
    sums: dict[str, Attribute] = {
        "count": int(one.attributes["count"]) + int(other.attributes["count"]),
        "busy_s": round(float(one.attributes["busy_s"]) + float(other.attributes["busy_s"]), 6),
    }
    return replace(one, start=start, duration=end - start, attributes=sums)


def _names(scan: str, tracks: dict[str, int]) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": scan}}
    for process, track in tracks.items():
        yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": track, "args": {"name": process}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": track, "args": {"sort_index": track}}


def _event(span: Span, tracks: dict[str, int], start: float) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": span.name,
        "cat": "scan",
        "pid": 1,
        "tid": tracks[span.process],
        "ts": round((span.start - start) * _US),
        "dur": round(span.duration * _US),
        "args": span.attributes,
    }


def _span(event: dict[str, Any], tracks: dict[int, str], start: float) -> Span:
    return Span(
        name=str(event["name"]),
        process=tracks[event["tid"]],
        start=start + event["ts"] / _US,
        duration=event["dur"] / _US,
        attributes=dict(event["args"]),
    )
