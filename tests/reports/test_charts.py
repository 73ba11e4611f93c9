import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.reports import charts

SVG = "{http://www.w3.org/2000/svg}"
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=80)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def words(svg: str) -> str:
    return " ".join(t for t in parsed(svg).itertext())


@settings(max_examples=60, deadline=None)
@given(PROBABILITIES)
def test_every_pass_is_one_dot_inside_the_picture(values: list[float]):
    low, high = np.quantile(values, [0.05, 0.95])
    root = parsed(charts.passes_plot("k", values, mean=float(np.mean(values)), low=low, high=high, level=0.9))
    dots = root.findall(f"{SVG}circle")
    assert len(dots) == len(values)
    assert all(0 <= float(dot.get("cx", "nan")) <= charts.WIDTH for dot in dots)
    assert all(30 <= float(dot.get("cy", "nan")) <= 150 for dot in dots)


def test_the_passes_plot_says_its_numbers():
    svg = charts.passes_plot("k", [0.6, 0.7, 0.8], mean=0.71, low=0.61, high=0.79, level=0.9)
    said = words(svg)
    assert "mean 0.71" in said
    assert "90% interval 0.61–0.79" in said
    assert "3 passes" in said


@settings(max_examples=40, deadline=None)
@given(PROBABILITIES)
def test_the_density_sums_to_one(values: list[float]):
    grid, density = charts._density(np.array(values))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(PROBABILITIES, st.integers(1, 20))
def test_a_histogram_counts_every_value_once(values: list[float], bins: int):
    root = parsed(charts.histogram("h", values, bins=bins, title="T"))
    labels = [t.text for t in root.findall(f"{SVG}text") if "strong" in t.get("class", "")]
    assert sum(int(label) for label in labels) == len(values)
    assert len(root.findall(f"{SVG}rect")) == len(labels)


def test_bars_carry_labels_values_and_true_proportions():
    root = parsed(charts.bar_chart("b", [("read", 3.9), ("encode", 7.8), ("none", 0.0)], title="T", unit="seconds"))
    widths = [float(r.get("width", "nan")) for r in root.findall(f"{SVG}rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert widths[2] == 0
    said = " ".join(root.itertext())
    assert "3.9 s" in said
    assert "7.8 s" in said


def test_hostile_labels_are_text():
    svg = charts.bar_chart('k"><script>', [("</text><script>alert(1)</script>", 1)], title="<b>&")
    assert "<script>" not in svg
    assert "alert(1)" in words(svg)


def test_ids_are_made_of_the_key_and_name_title_and_description():
    for svg in (
        charts.interval_bar("one", 0.5, 0.2, 0.7),
        charts.histogram("one", [0.5], title="T"),
        charts.sparkline("one", [1, 2, 3], title="T"),
        charts.bar_chart("one", [], title="T"),
    ):
        root = parsed(svg)
        ids = [e.get("id") for e in root.iter() if e.get("id")]
        assert ids == ["one-title", "one-desc"]
        assert root.get("aria-labelledby") == "one-title one-desc"
        assert root.get("role") == "img"


def test_an_interval_bar_says_probability_and_interval():
    assert "Probability 0.81, interval 0.62–0.93" in words(charts.interval_bar("x", 0.81, 0.62, 0.93))


def test_a_sparkline_breaks_where_nothing_was_measured():
    root = parsed(charts.sparkline("s", [1.0, 2.0, float("nan"), 3.0, 5.0], title="T"))
    assert len(root.findall(f"{SVG}polyline")) == 2
    assert "From 1 to 5; last 5." in " ".join(root.itertext())
    assert "No values." in words(charts.sparkline("s", [float("nan")], title="T"))


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.5), st.floats(0.5, 0.999), st.booleans())
def test_thresholds_lie_where_they_are_and_their_labels_neither_overlap_nor_leave_the_picture(low, high, on):
    regions = [
        charts.Region(label=f"negative at most {low:.3f}", low=0.0, high=low, answered=True),
        charts.Region(label=f"positive at least {high:.3f}", low=high, high=1.0, answered=on),
    ]
    svg = charts.passes_plot("k", [0.4, 0.5], mean=0.45, low=0.4, high=0.5, level=0.9, regions=regions)
    root = parsed(svg)
    span = charts._RIGHT - charts._LEFT
    lines = [float(e.get("x1")) for e in root.findall(f"{SVG}line") if e.get("class") == "threshold"]
    assert lines == pytest.approx([charts._LEFT + span * low, charts._LEFT + span * high], abs=0.06)
    grounds = [e for e in root.findall(f"{SVG}rect") if e.get("class") == "region"]
    assert len(grounds) == 1 + on
    assert float(grounds[0].get("x")) + float(grounds[0].get("width")) == pytest.approx(lines[0], abs=0.11)
    boxes = [
        (float(e.get("x")) - 3.4 * len(e.text), float(e.get("x")) + 3.4 * len(e.text), float(e.get("y")))
        for e in root.findall(f"{SVG}text")
        if (e.text or "").startswith(("negative", "positive"))
    ]
    assert all(left >= 0 and right <= charts.WIDTH and y < float(root.get("height")) for left, right, y in boxes)
    (one, other) = boxes
    assert one[2] != other[2] or one[1] <= other[0]
    assert all(region.label in words(svg) for region in regions)
