"""Charts of the evaluation page: every number at its place, within the picture, and said to a screen reader."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.evaluation.ranking import Band
from pellucid.reports import evaluation_charts as charts
from pellucid.reports.charts import WIDTH
from pellucid.statistics.curves import ReliabilityBin

SVG = "{http://www.w3.org/2000/svg}"
SHARES = st.floats(0, 1)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def points(element: ET.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in element.get("points", "").split()]


def inside(root: ET.Element) -> bool:
    width, height = (float(part) for part in root.get("viewBox", "").split()[2:])
    placed = [point for tag in ("polyline", "polygon") for line in root.iter(f"{SVG}{tag}") for point in points(line)]
    placed += [(float(c.get("cx", "nan")), float(c.get("cy", "nan"))) for c in root.iter(f"{SVG}circle")]
    placed += [(float(t.get("x", "nan")), float(t.get("y", "nan"))) for t in root.iter(f"{SVG}text")]
    return all(-0.5 <= x <= width + 0.5 and -0.5 <= y <= height + 0.5 for x, y in placed)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=30))
def test_curves_stay_inside_the_picture(drawn):
    band = Band(x=(0.0, 0.5, 1.0), low=(0.0, 0.2, 0.9), high=(0.4, 0.8, 1.0))
    ordered = sorted(drawn)
    assert inside(parsed(charts.roc_plot("a", ordered, band, title="T", said="S")))
    assert inside(parsed(charts.pr_plot("b", ordered, None, guess=0.3, title="T", said="S")))
    assert inside(parsed(charts.risk_coverage_plot("c", [charts.Curve(points=ordered, name="one")])))


def test_the_roc_runs_from_corner_to_corner():
    root = parsed(charts.roc_plot("a", [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)], None, title="T", said="S"))
    curve = next(line for line in root.iter(f"{SVG}polyline") if "curve-1" in line.get("class", ""))
    (x0, y0), (_, y1), (x2, y2) = points(curve)
    assert x2 - x0 == pytest.approx(300, abs=5)
    assert y0 - y1 == pytest.approx(250, abs=5)
    assert y1 == y2


def test_precision_is_drawn_in_steps_at_its_own_recall():
    root = parsed(charts.pr_plot("b", [(0.5, 1.0), (1.0, 0.5)], None, guess=0.5, title="T", said="S"))
    curve = next(line for line in root.iter(f"{SVG}polyline") if "curve-1" in line.get("class", ""))
    xs, ys = zip(*points(curve), strict=True)
    assert ys[0] == ys[1] < ys[2] == ys[3]
    assert xs[1] == xs[2]


def test_reliability_bins_have_their_point_and_whisker():
    bins = [
        ReliabilityBin(n=20, n_positive=2, mean_predicted=0.1, share=0.1, low=0.01, high=0.3),
        ReliabilityBin(n=20, n_positive=17, mean_predicted=0.8, share=0.85, low=0.6, high=0.97),
    ]
    root = parsed(charts.reliability_plot("r", bins))
    whiskers = [line for line in root.iter(f"{SVG}line") if line.get("class") == "whisker"]
    circles = list(root.iter(f"{SVG}circle"))
    assert len(whiskers) == len(circles) == 2
    for whisker, circle in zip(whiskers, circles, strict=True):
        assert float(whisker.get("y2")) < float(circle.get("cy")) < float(whisker.get("y1"))
        assert whisker.get("x1") == circle.get("cx")
    assert "17 of 20 mutated" in "".join(root.itertext())


def test_the_scale_of_risk_holds_every_risk_beyond_the_first_few_specimens():
    root = parsed(
        charts.risk_coverage_plot("c", [charts.Curve(points=[(0.05, 1.0), (0.5, 0.1), (1.0, 0.15)], name="x")])
    )
    assert "16%" in [text.text for text in root.iter(f"{SVG}text")]
    assert inside(root)


def test_a_histogram_has_mutated_above_and_wild_type_below_the_axis():
    root = parsed(charts.class_histogram("h", [0, 0, 0, 4], [8, 0, 1, 0], [("negative ≤ 0.27", 0.27)]))
    axis = next(float(line.get("y1")) for line in root.iter(f"{SVG}line") if line.get("class") == "axis")
    bars = {kind: [] for kind in ("mutated", "wild-type")}
    for bar in root.iter(f"{SVG}rect"):
        bars[bar.get("class", "").split()[1]].append(bar)
    assert [float(bar.get("y")) + float(bar.get("height")) for bar in bars["mutated"]] == pytest.approx([axis])
    assert [float(bar.get("y")) for bar in bars["wild-type"]] == pytest.approx([axis, axis])
    heights = [float(bar.get("height")) for bar in (*bars["mutated"], *bars["wild-type"])]
    assert heights[0] / heights[1] == pytest.approx(0.5, abs=0.01)
    limit = next(line for line in root.iter(f"{SVG}line") if line.get("class") == "limit")
    assert float(limit.get("x1")) == pytest.approx(46 + 300 * 0.27, abs=0.1)
    assert inside(root)


@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_names_of_thresholds_never_overlap(n: int):
    marks = [(f"negative ≤ 0.{nth}", 0.2 + 0.1 * nth) for nth in range(n)]
    root = parsed(charts.class_histogram("h", [1] * 20, [1] * 20, marks))
    rows = [float(text.get("y")) for text in root.iter(f"{SVG}text") if "≤" in (text.text or "")]
    assert len(rows) == n
    assert all(later - before >= 13 for before, later in pairwise(rows))
    assert inside(root)


def test_bars_of_answers_divide_each_outcome():
    root = parsed(
        charts.answer_bars("a", [("Mutated", [1, 3, 6]), ("Wild type", [0, 0, 0])], names=["negative", "x", "positive"])
    )
    parts = [bar for bar in root.iter(f"{SVG}rect") if float(bar.get("height")) > 12]
    assert [round(float(bar.get("width")), 1) for bar in parts] == [33.6, 100.8, 201.6]
    assert "Mutated: 1 negative, 3 x, 6 positive" in "".join(root.itertext())
    assert max(float(text.get("x")) for text in root.iter(f"{SVG}text")) < WIDTH


def test_a_share_lies_within_its_own_range():
    root = parsed(charts.range_bar("s", 0.9, 0.8, 0.96, title="NPV"))
    band = next(root.iter(f"{SVG}rect"))
    point = float(next(root.iter(f"{SVG}circle")).get("cx"))
    assert float(band.get("x")) < point < float(band.get("x")) + float(band.get("width"))
    assert "80% to 96%" in "".join(root.itertext())
