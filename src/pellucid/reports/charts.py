"""Small charts as SVG text, drawn for 360 px so that their words stay readable on a telephone.

Colours come from the page's style sheet through classes, so that one chart serves light, dark and print. Every chart
has a title and a description that say its numbers to a screen reader. `key` makes the ids of one page unique.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from pellucid.reports import formats

WIDTH = 360
_LEFT, _RIGHT = 16, 344
_DOT_BINS = 50
_DENSITY_POINTS = 161


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of the probability axis beyond a threshold, from `low` to `high`; not `answered` where that is off."""

    label: str
    low: float
    high: float
    answered: bool


def passes_plot(
    key: str,
    probabilities: Sequence[float],
    *,
    mean: float,
    low: float,
    high: float,
    level: float,
    regions: Sequence[Region] = (),
) -> Markup:
    """Every pass as a dot on the probability axis, over their density, with interval, mean and certified thresholds.

    The density is a Gaussian kernel estimate with Silverman's bandwidth, reflected at 0 and 1, and scaled to the dots
    so that both have one vertical axis.
    """
    values = np.clip(np.asarray(probabilities, np.float64), 0.0, 1.0)
    base, top = 150.0, 44.0
    bins = np.minimum((values * _DOT_BINS).astype(int), _DOT_BINS - 1)
    stacks = np.bincount(bins, minlength=_DOT_BINS)
    grid, density = _density(values)
    expected = density * len(values) / _DOT_BINS
    tallest = max(float(stacks.max(initial=1)), float(expected.max(initial=0.0)), 4.0)
    step = (base - top) / tallest
    radius = min(2.8, 0.46 * step)
    dots = "".join(
        f'<circle class="dot" cx="{_x((b + 0.5) / _DOT_BINS):.1f}" cy="{base - (i + 0.5) * step:.1f}" '
        f'r="{radius:.2f}"/>'
        for b, n in enumerate(stacks)
        for i in range(int(n))
    )
    line = " ".join(f"{_x(g):.1f},{base - e * step:.1f}" for g, e in zip(grid, expected, strict=True))
    label = f"{formats.percent(level)} interval {formats.interval(low, high)}"
    thresholds, rows = _region_labels(regions, top - 8, base)
    body = (
        f"{_region_grounds(regions, top - 8, base)}"
        f'<rect class="band" x="{_x(low):.1f}" y="{top - 8}" width="{max(_x(high) - _x(low), 1.5):.1f}" '
        f'height="{base - top + 8}"/>'
        f'<polygon class="density" points="{_x(0):.1f},{base} {line} {_x(1):.1f},{base}"/>'
        f"{thresholds}{dots}"
        f'<line class="mean" x1="{_x(mean):.1f}" x2="{_x(mean):.1f}" y1="{top - 14}" y2="{base}"/>'
        f"{_label(_x(mean), 14, f'mean {formats.probability(mean)}', 'strong', 50)}"
        f"{_label((_x(low) + _x(high)) / 2, 29, label, 'soft', 92)}"
        f"{_probability_axis(base)}"
    )
    n = len(values)
    description = (
        f"{formats.counted(n, 'dot')} from {formats.probability(float(values.min(initial=1.0)))} to "
        f"{formats.probability(float(values.max(initial=0.0)))}; mean {formats.probability(mean)}, {label}."
        + "".join(f" Certified: {region.label}." for region in regions)
    )
    return svg(
        key, 190 + 20 * rows, f"Probability in each of {formats.counted(n, 'pass', 'passes')}", description, body
    )


def interval_bar(key: str, probability: float, low: float, high: float) -> Markup:
    """A probability with its interval on an axis from 0 to 1, small enough for a table's cell."""
    width, height, pad = 132, 18, 5

    def at(value: float) -> float:
        return pad + (width - 2 * pad) * value

    body = (
        f'<line class="axis" x1="{at(0)}" x2="{at(1)}" y1="9" y2="9"/>'
        f'<line class="tick" x1="{at(0.5)}" x2="{at(0.5)}" y1="5" y2="13"/>'
        f'<rect class="range" x="{at(low):.1f}" y="6" width="{max(at(high) - at(low), 1.5):.1f}" height="6" rx="3"/>'
        f'<circle class="point" cx="{at(probability):.1f}" cy="9" r="4.5"/>'
    )
    title = f"Probability {formats.probability(probability)}, interval {formats.interval(low, high)}"
    return svg(key, height, title, "On an axis from 0 to 1.", body, width=width, kind="chart inline")


def histogram(key: str, values: Sequence[float], *, bins: int = 10, title: str) -> Markup:
    """How many values fall into each of `bins` equal parts of 0 to 1, with the counts written on the bars."""
    inside = np.clip(np.asarray(values, np.float64), 0.0, 1.0)
    counts = np.bincount(np.minimum((inside * bins).astype(int), bins - 1), minlength=bins)
    return count_bars(key, counts.tolist(), title=title)


def count_bars(key: str, counts: Sequence[int], *, title: str) -> Markup:
    """A histogram of probabilities from its counts in equal parts of 0 to 1."""
    base, top, bins = 120.0, 22.0, len(counts)
    scale = (base - top) / max(*counts, 1)
    wide = (_RIGHT - _LEFT) / bins
    body = "".join(
        f'<rect class="bar" x="{_LEFT + i * wide + 1:.1f}" y="{base - n * scale:.1f}" width="{wide - 2:.1f}" '
        f'height="{n * scale:.1f}"/>'
        f"{svg_text(_LEFT + (i + 0.5) * wide, base - n * scale - 5, formats.count(n), 'strong')}"
        for i, n in enumerate(counts)
        if n
    )
    parts = [f"{i / bins:.2g} to {(i + 1) / bins:.2g}: {n}" for i, n in enumerate(counts) if n]
    return svg(key, 160, title, "; ".join(parts) + "." if parts else "No values.", body + _probability_axis(base))


def line_to_limit(
    key: str, points: Sequence[tuple[float, float]], *, limit: float, limit_label: str, title: str, across: str
) -> Markup:
    """A line through (x, y) points, y from 0, with a limit that it may cross; `across` names x."""
    base, top = 130.0, 20.0
    highest = max([limit * 1.1, *(y for _, y in points)])
    first, last = (points[0][0], points[-1][0]) if points else (0.0, 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (_RIGHT - _LEFT) * (x - first) / ((last - first) or 1.0), base - (base - top) * y / highest

    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
    end = at(*points[-1]) if points else at(first, 0.0)
    height = at(first, limit)[1]
    body = (
        f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{base}" y2="{base}"/>'
        f'<line class="limit" x1="{_LEFT}" x2="{_RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text class="label soft" x="{_LEFT}" y="{height - 5:.1f}">{escape(limit_label)}</text>'
        f'<polyline class="line" points="{line}"/><circle class="point" cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="3.5"/>'
        + svg_text(_LEFT + 6, base + 16, formats.number(first), "soft")
        + svg_text(_RIGHT - 10, base + 16, formats.number(last), "soft")
        + svg_text((_LEFT + _RIGHT) / 2, base + 30, across, "soft")
    )
    peak = formats.number(max((y for _, y in points), default=0.0))
    latest = formats.number(points[-1][1] if points else 0.0)
    return svg(key, 166, title, f"Highest {peak}, last {latest}; {limit_label}.", body)


def two_spreads(key: str, above: Sequence[float], below: Sequence[float] | None, *, title: str) -> Markup:
    """Two rows on one axis, each given as (5%, 25%, 50%, 75%, 95%): a reference above, the latest below."""
    width, pad = 132, 5
    rows = [above, below] if below is not None else [above]
    low, high = min(row[0] for row in rows), max(row[4] for row in rows)

    def at(value: float) -> float:
        return pad + (width - 2 * pad) * (value - low) / ((high - low) or 1.0)

    body = "".join(
        f'<line class="{kind} whisker" x1="{at(row[0]):.1f}" x2="{at(row[4]):.1f}" y1="{y}" y2="{y}"/>'
        f'<rect class="{kind}" x="{at(row[1]):.1f}" y="{y - 3.5}" width="{max(at(row[3]) - at(row[1]), 1.5):.1f}" '
        f'height="7" rx="2"/><line class="median" x1="{at(row[2]):.1f}" x2="{at(row[2]):.1f}" '
        f'y1="{y - 5}" y2="{y + 5}"/>'
        for row, y, kind in zip(rows, (8, 20), ("reference", "bar"), strict=False)
    )
    said = f"Reference median {formats.number(above[2])}"
    if below is not None:
        said += f", latest median {formats.number(below[2])}"
    return svg(key, 28, title, f"{said}.", body, width=width, kind="chart inline")


def bar_chart(key: str, items: Sequence[tuple[str, float]], *, title: str, unit: str = "count") -> Markup:
    """Horizontal bars with label and value; `unit` is `count`, `seconds` or `number`."""
    written = {"count": lambda v: formats.count(int(v)), "seconds": formats.seconds, "number": formats.number}[unit]
    start, end, pitch = 132.0, 300.0, 24
    largest = max((value for _, value in items), default=0.0) or 1.0
    rows = []
    for i, (label, value) in enumerate(items):
        middle = i * pitch + 16
        length = max((end - start) * value / largest, 1.5 if value else 0.0)
        rows.append(
            f'<text class="label" x="{start - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="bar" x="{start}" y="{middle - 11}" width="{length:.1f}" height="14" rx="2"/>'
            f'<text class="label strong" x="{start + length + 6:.1f}" y="{middle}">{escape(written(value))}</text>'
        )
    description = "; ".join(f"{label}: {written(value)}" for label, value in items) + "."
    return svg(key, max(len(items), 1) * pitch + 6, title, description, "".join(rows))


def sparkline(key: str, values: Sequence[float], *, title: str) -> Markup:
    """A line of values in their order, with the last one marked; gaps where a value is not finite."""
    width, height, pad = 132, 32, 4
    data = np.asarray(values, np.float64)
    finite = data[np.isfinite(data)]
    if not len(finite):
        return svg(key, height, title, "No values.", "", width=width, kind="chart inline")
    smallest, largest = float(finite.min()), float(finite.max())
    spread = largest - smallest or 1.0
    xs = np.linspace(pad, width - pad, max(len(data), 2))
    ys = height - pad - (height - 2 * pad) * (data - smallest) / spread
    body, piece = "", []
    for x, y in [*zip(xs, ys, strict=False), (0.0, float("nan"))]:
        if np.isfinite(y):
            piece.append(f"{x:.1f},{y:.1f}")
        elif piece:
            body += f'<polyline class="line" points="{" ".join(piece)}"/>'
            last = piece[-1].split(",")
            piece = []
    body += f'<circle class="point" cx="{last[0]}" cy="{last[1]}" r="3"/>'
    description = (
        f"From {formats.number(smallest)} to {formats.number(largest)}; last {formats.number(float(finite[-1]))}."
    )
    return svg(key, height, title, description, body, width=width, kind="chart inline")


def svg(
    key: str, height: float, title: str, description: str, body: str, *, width: int = WIDTH, kind: str = "chart"
) -> Markup:
    """A chart around `body`, with its title and description for screen readers."""
    ident = escape(key)
    return Markup(  # noqa: S704 - every text in it went through escape
        f'<svg class="{kind}" viewBox="0 0 {width} {height:g}" width="{width}" height="{height:g}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-desc"><title id="{ident}-title">{escape(title)}</title>'
        f'<desc id="{ident}-desc">{escape(description)}</desc>{body}</svg>'
    )


def _probability_axis(base: float) -> str:
    ticks = "".join(
        f'<line class="tick" x1="{_x(t):.1f}" x2="{_x(t):.1f}" y1="{base}" y2="{base + 4}"/>'
        + svg_text(_x(t), base + 17, f"{t:g}", "soft halo")
        for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    name = svg_text((_LEFT + _RIGHT) / 2, base + 34, "probability", "soft halo")
    return f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{base}" y2="{base}"/>{ticks}{name}'


def _region_grounds(regions: Sequence[Region], top: float, base: float) -> str:
    return "".join(
        f'<rect class="region" x="{_x(region.low):.1f}" y="{top}" width="{_x(region.high) - _x(region.low):.1f}" '
        f'height="{base - top}"/>'
        for region in regions
        if region.answered
    )


def _region_labels(regions: Sequence[Region], top: float, base: float) -> tuple[str, int]:
    """Each threshold as a line that leads down to its label, and how many rows the labels take so that none overlap."""
    lines, labels = [], []
    taken: list[tuple[float, float, int]] = []
    for region in regions:
        at = _x(region.high if region.low == 0.0 else region.low)
        room = 3.6 * len(region.label) + 4  # half the width of the label at 12 px
        centre = min(max(at, room), WIDTH - room)
        row = len({row for start, end, row in taken if centre - room < end and start < centre + room})
        taken.append((centre - room, centre + room, row))
        y = base + 54 + 20 * row
        lines.append(f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{y - 12:.1f}"/>')
        labels.append(svg_text(centre, y, region.label, "strong halo"))
    return "".join(lines + labels), len({row for _, _, row in taken})


def _label(x: float, y: float, text: str, kind: str, half: float) -> str:
    """Centred text, pushed inwards where `half` its width would leave the chart."""
    return svg_text(min(max(x, half), WIDTH - half), y, text, kind)


def svg_text(x: float, y: float, text: str, kind: str) -> str:
    """Centred words, escaped."""
    return f'<text class="label {kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _x(value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * float(value)


def _density(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A kernel estimate on 0 to 1 as (points, density), with mass reflected at both ends so that it sums to one."""
    grid = np.linspace(0.0, 1.0, _DENSITY_POINTS)
    if not len(values):
        return grid, np.zeros_like(grid)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    bandwidth = max(1.06 * spread * len(values) ** -0.2, 1.0 / _DOT_BINS)
    mirrored = np.concatenate([values, -values, 2 - values, values - 2, values + 2])
    kernels = np.exp(-0.5 * ((grid[:, None] - mirrored[None, :]) / bandwidth) ** 2)
    density: NDArray[np.float64] = kernels.sum(axis=1) / (len(values) * bandwidth * np.sqrt(2 * np.pi))
    return grid, density
