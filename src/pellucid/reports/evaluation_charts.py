"""Charts of the evaluation page, drawn as in `reports.charts`: for 360 px, coloured by the page's style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pellucid.evaluation.ranking import Band, Point
from pellucid.reports import formats
from pellucid.reports.charts import svg, svg_text
from pellucid.statistics.curves import ReliabilityBin

_LEFT, _RIGHT, _TOP, _BASE = 46.0, 346.0, 28.0, 278.0
_LEGEND_PITCH = 19.0
_NAME_PITCH = 15.0
_EARLY = 0.1
"""Risk at a smaller coverage rests on so few specimens that it would set the scale for all."""
_SCALES = (0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.32, 0.4, 0.6, 0.8, 1.0)
"""Ends of the axis of risk, such that a quarter of each is a round number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a chart and its name in the legend; `style` is one of `curve-1` to `curve-4`."""

    points: Sequence[Point]
    name: str
    style: str = "curve-1"


def roc_plot(key: str, points: Sequence[Point], band: Band | None, *, title: str, said: str) -> Markup:
    """The ROC curve over its band and the diagonal of guessing."""
    guess = _polyline([(0.0, 0.0), (1.0, 1.0)], "guess")
    body = _band(band) + guess + _polyline(points, "curve-1")
    return _square(key, body, title=title, said=said, across="false positive rate", up="true positive rate")


def pr_plot(key: str, points: Sequence[Point], band: Band | None, *, guess: float, title: str, said: str) -> Markup:
    """Precision over recall in steps, with the precision of guessing."""
    steps: list[Point] = []
    before = 0.0
    for recall, precision in points:
        steps += [(before, precision), (recall, precision)]
        before = recall
    body = _band(band) + _polyline([(0.0, guess), (1.0, guess)], "guess") + _polyline(steps, "curve-1")
    return _square(key, body, title=title, said=said, across="recall (sensitivity)", up="precision (PPV)")


def reliability_plot(key: str, bins: Sequence[ReliabilityBin]) -> Markup:
    """Observed against predicted share, each bin with its interval, and the diagonal of perfect calibration."""
    body = _polyline([(0.0, 0.0), (1.0, 1.0)], "guess")
    for one in bins:
        x = _x(one.mean_predicted)
        body += (
            f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(one.low):.1f}" y2="{_y(one.high):.1f}"/>'
            f'<circle class="point" cx="{x:.1f}" cy="{_y(one.share):.1f}" r="4.5"/>'
        )
    said = "; ".join(
        f"{formats.probability(one.mean_predicted)} predicted, {one.n_positive} of {one.n} mutated" for one in bins
    )
    return _square(key, body, title="Reliability", said=f"{said}.", across="predicted probability", up="share mutated")


def risk_coverage_plot(key: str, curves: Sequence[Curve]) -> Markup:
    """The share of errors among the most confident specimens, over how many are covered; one line a confidence."""
    late = [risk for curve in curves for coverage, risk in curve.points if coverage >= _EARLY]
    needed = max(late, default=0.0)
    highest = next(scale for scale in _SCALES if scale >= needed)
    body = "".join(
        _polyline([(x, min(y, highest)) for x, y in curve.points], curve.style, highest=highest) for curve in curves
    )
    body += "".join(_legend_line(nth, curve) for nth, curve in enumerate(curves))
    said = "; ".join(
        f"{curve.name}: {formats.percent(curve.points[-1][1])} errors when all are covered" for curve in curves
    )
    return _square(
        key,
        body,
        title="Risk over coverage",
        said=f"{said}.",
        across="coverage",
        up="share of errors",
        highest=highest,
        in_percent=True,
        height=_BASE + 44 + _LEGEND_PITCH * len(curves),
    )


def class_histogram(
    key: str, mutated: Sequence[int], wild_type: Sequence[int], thresholds: Sequence[tuple[str, float]]
) -> Markup:
    """Probabilities of the mutated above the axis and of the wild type below it, with each threshold as a line."""
    reach, n = 82.0, len(mutated)
    middle = 28.0 + _NAME_PITCH * len(thresholds) + reach
    tallest = max(*mutated, *wild_type, 1)
    wide = (_RIGHT - _LEFT) / n
    bars = []
    for side, counts, style in ((-1, mutated, "mutated"), (1, wild_type, "wild-type")):
        for nth, count in enumerate(counts):
            if count:
                tall = reach * count / tallest
                top = middle - tall if side < 0 else middle
                bars.append(
                    f'<rect class="bar {style}" x="{_LEFT + nth * wide + 0.8:.1f}" y="{top:.1f}" '
                    f'width="{wide - 1.6:.1f}" height="{tall:.1f}"/>'
                )
    ends = _tick_text(middle - reach, tallest) + _tick_text(middle, 0) + _tick_text(middle + reach, tallest)
    body = (
        "".join(bars)
        + f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{middle}" y2="{middle}"/>'
        + _name(_LEFT, middle - reach - 8, f"mutated ({sum(mutated)})")
        + _name(_LEFT, middle + reach + 14, f"wild type ({sum(wild_type)})")
        + ends
        + _across(middle + reach + 20, "probability")
        + "".join(_threshold(nth, name, at, middle, reach) for nth, (name, at) in enumerate(thresholds))
    )
    said = f"Mutated: {_binned(mutated)}. Wild type: {_binned(wild_type)}." + "".join(
        f" {name} at {formats.probability(at)}." for name, at in thresholds
    )
    return svg(key, middle + reach + 58, "Probabilities by outcome", said, body)


def answer_bars(key: str, rows: Sequence[tuple[str, Sequence[int]]], *, names: Sequence[str]) -> Markup:
    """One bar a row, divided between the answers; the rows are outcomes, the parts `names`."""
    start, end, pitch, thick = 12.0, 348.0, 50.0, 22.0
    styles = ("part-1", "part-2", "part-3")
    body, said = "", []
    for nth, (label, counts) in enumerate(rows):
        top, total, at = nth * pitch + 20, sum(counts), start
        body += f'<text class="label" x="{start}" y="{top - 6:.1f}">{escape(f"{label} ({total})")}</text>'
        for count, style in zip(counts, styles, strict=True):
            length = (end - start) * count / total if total else 0.0
            if count:
                body += f'<rect class="{style}" x="{at:.1f}" y="{top}" width="{length:.1f}" height="{thick}"/>'
            if length > 11 * len(str(count)):
                body += f'<text class="label strong on-{style}" x="{at + length / 2:.1f}" y="{top + 15.5:.1f}" '
                body += f'text-anchor="middle">{count}</text>'
            at += length
        said.append(f"{label}: " + ", ".join(f"{count} {name}" for count, name in zip(counts, names, strict=True)))
    below = len(rows) * pitch + 10
    body += "".join(
        f'<rect class="{style}" x="{start + 112 * nth}" y="{below}" width="12" height="12"/>'
        f'<text class="label soft" x="{start + 112 * nth + 17}" y="{below + 10}">{escape(name)}</text>'
        for nth, (name, style) in enumerate(zip(names, styles, strict=True))
    )
    return svg(key, below + 20, "Answers by outcome", "; ".join(said) + ".", body)


def range_bar(key: str, value: float, low: float, high: float, *, title: str) -> Markup:
    """A share with its interval on an axis from 0 to 1, small enough for a table's cell."""
    pad, wide = 5.0, 122.0
    body = (
        f'<line class="axis" x1="{pad}" x2="{pad + wide}" y1="9" y2="9"/>'
        f'<rect class="range" x="{pad + wide * low:.1f}" y="6" width="{max(wide * (high - low), 1.5):.1f}" height="6" '
        f'rx="3"/><circle class="point" cx="{pad + wide * value:.1f}" cy="9" r="4.5"/>'
    )
    said = f"{formats.percent(value)}, interval {formats.percent(low)} to {formats.percent(high)}."
    return svg(key, 18, title, said, body, width=132, kind="chart inline")


def _square(
    key: str,
    body: str,
    *,
    title: str,
    said: str,
    across: str,
    up: str,
    highest: float = 1.0,
    in_percent: bool = False,
    height: float = _BASE + 44,
) -> Markup:
    axes = (
        f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BASE}" y2="{_BASE}"/>'
        f'<line class="axis" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{_BASE}"/>'
    )
    for nth in range(5):
        share = nth / 4
        y = _y(share)
        written = formats.percent(share * highest) if in_percent else f"{share:g}"
        axes += f'<line class="tick" x1="{_LEFT - 4}" x2="{_LEFT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        axes += _end_text(_LEFT - 7, y + 4, written)
    return svg(key, height, title, said, axes + _name(2, 14, up) + _across(_BASE, across) + body)


def _across(base: float, name: str) -> str:
    ticks = "".join(
        f'<line class="tick" x1="{_x(t):.1f}" x2="{_x(t):.1f}" y1="{base}" y2="{base + 4}"/>'
        + svg_text(_x(t), base + 17, f"{t:g}", "soft")
        for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return f"{ticks}{svg_text((_LEFT + _RIGHT) / 2, base + 34, name, 'soft')}"


def _band(band: Band | None) -> str:
    if band is None:
        return ""
    above = [f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(band.x, band.high, strict=True)]
    below = [f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(band.x, band.low, strict=True)]
    return f'<polygon class="band" points="{" ".join([*above, *reversed(below)])}"/>'


def _polyline(points: Sequence[Point], style: str, *, highest: float = 1.0) -> str:
    placed = " ".join(f"{_x(x):.1f},{_y(y / highest):.1f}" for x, y in points)
    return f'<polyline class="curve {style}" points="{placed}"/>'


def _legend_line(nth: int, curve: Curve) -> str:
    y = _BASE + 54 + _LEGEND_PITCH * nth
    return (
        f'<line class="curve {curve.style}" x1="{_LEFT}" x2="{_LEFT + 26}" y1="{y - 4}" y2="{y - 4}"/>'
        f'<text class="label" x="{_LEFT + 33}" y="{y}">{escape(curve.name)}</text>'
    )


def _threshold(nth: int, name: str, at: float, middle: float, reach: float) -> str:
    """A dashed line with its name in a row of its own, towards the middle of the chart."""
    x, y = _x(at), 13.0 + _NAME_PITCH * nth
    anchor, shift = ("start", 4.0) if at < 0.5 else ("end", -4.0)
    return (
        f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9:.1f}" y2="{middle + reach:.1f}"/>'
        f'<text class="label soft" x="{x + shift:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
    )


def _binned(counts: Sequence[int]) -> str:
    n = len(counts)
    parts = [f"{count} at {nth / n:.2g} to {(nth + 1) / n:.2g}" for nth, count in enumerate(counts) if count]
    return ", ".join(parts) or "none"


def _name(x: float, y: float, text: str) -> str:
    return f'<text class="label soft" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _end_text(x: float, y: float, text: str) -> str:
    return f'<text class="label soft" x="{x:.1f}" y="{y:.1f}" text-anchor="end">{escape(text)}</text>'


def _tick_text(y: float, count: int) -> str:
    return _end_text(_LEFT - 7, y + 4, formats.count(count))


def _x(value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(max(value, 0.0), 1.0)


def _y(value: float) -> float:
    return _BASE - (_BASE - _TOP) * min(max(value, 0.0), 1.0)
