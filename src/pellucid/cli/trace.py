"""`pellucid trace SCAN`: where one scan's time went, as a waterfall."""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.core.telemetry.trace import Span, Trace

_NAME = re.compile(r"[A-Za-z0-9-]{4,64}")
_KEY_CHARACTERS = 12  # as many as name a scan's folder
_NARROWEST_BAR = 10


def trace(
    scan: Annotated[str, typer.Argument(help="The scan's pseudonym, such as F-7K3QW9TD, or its task's key.")],
    out: Annotated[Path, typer.Option("--out", help="The run's output folder.")] = Path("out"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the trace events, to be opened with Perfetto or Chrome.")
    ] = False,
) -> None:
    """Show what happened to a scan, when and in which process; of several attempts, the latest."""
    path = _find(scan, out)
    found = _read(path)
    if as_json:
        typer.echo(path.read_text(encoding="utf-8").rstrip())
        return
    for line in waterfall(found, width=shutil.get_terminal_size((100, 24)).columns):
        typer.echo(line)
    typer.echo(f"\nThe same as a picture: open {path} with Perfetto or chrome://tracing.")


def waterfall(found: "Trace", *, width: int = 100) -> list[str]:
    """One line a span: when it began, how long it took, where it ran, and a bar on the scan's time."""
    spans = found.spans
    if not spans:
        return [f"Scan {found.scan}: no step was recorded."]
    start, end = spans[0].start, max(span.end for span in spans)
    whole = max(end - start, 1e-6)
    names = max(len(span.name) for span in spans)
    places = max(len(span.process) for span in spans)
    bar = max(_NARROWEST_BAR, width - names - places - 28)
    lines = [f"Scan {found.scan}, run {found.run_id or 'unknown'}: {whole:.2f} s in {len(spans)} spans", ""]
    for span in spans:
        where = _bar(span, start, whole, bar)
        text = f"{span.start - start:9.2f} s {span.duration:9.3f} s  {span.process:{places}}  {span.name:{names}}"
        lines.append(f"{text} {where}".rstrip())
    return [*lines, "", *_sums(found)]


def _bar(span: "Span", start: float, whole: float, width: int) -> str:
    first = min(width - 1, int((span.start - start) / whole * width))
    length = max(1, min(width - first, round(span.duration / whole * width)))
    return " " * first + "#" * length


def _sums(found: "Trace") -> list[str]:
    """Seconds by step: work of several processes at once adds up to more than the time that passed."""
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for span in found.spans:
        seconds[span.name] = seconds.get(span.name, 0.0) + float(span.attributes.get("busy_s", span.duration))
        counts[span.name] = counts.get(span.name, 0) + int(span.attributes.get("count", 0))
    lines = ["Seconds by step, over all processes:"]
    for name, total in sorted(seconds.items(), key=lambda item: -item[1]):
        each = f"  {counts[name]} items, {counts[name] / total:.0f}/s" if counts[name] and total > 0 else ""
        lines.append(f"  {name:16} {total:9.3f} s{each}")
    return lines


def _find(scan: str, out: Path) -> Path:
    from pellucid.cli.errors import TraceMissing
    from pellucid.core.telemetry.trace import TRACE_NAME

    if not _NAME.fullmatch(scan):
        raise TraceMissing(f"{scan!r} is neither a scan's pseudonym nor a task's key.")
    folder = out / "scans"
    paths = [*folder.glob(f"{scan}/*/{TRACE_NAME}"), *folder.glob(f"*/{scan[:_KEY_CHARACTERS]}/{TRACE_NAME}")]
    if not paths:
        raise TraceMissing(f"There is no trace of {scan} in {out}.")
    return max(paths, key=lambda path: path.stat().st_mtime)


def _read(path: Path) -> "Trace":
    from pellucid.cli.errors import TraceMissing
    from pellucid.core.telemetry.trace import read_trace

    try:
        return read_trace(path)
    except ValueError as error:
        raise TraceMissing(f"The trace of {path.parent.parent.name} can't be read: {error}.") from error
