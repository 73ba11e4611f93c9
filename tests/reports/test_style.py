"""The style sheet's colours, in light and dark, against WCAG 2.2."""

import re
from pathlib import Path

import pytest

import pellucid.reports

CSS = (Path(pellucid.reports.__file__).parent / "templates" / "style.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
)
TEXT = [
    *(("ink", ground) for ground in ("page", "surface", "sunken", "accent-soft", "bad-soft")),
    *(("soft", ground) for ground in ("page", "surface", "sunken")),
    ("accent", "surface"),
    ("accent", "page"),
    ("good", "surface"),
    ("bad", "surface"),
    ("bad", "bad-soft"),
    ("warn", "warn-soft"),
    ("sample", "sample-soft"),
    ("sample", "surface"),
]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT, ids=lambda name: name)
def test_text_stands_out_by_at_least_4_5_to_1(theme: dict[str, str], text: str, ground: str):
    assert contrast(theme[text], theme[ground]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_of_charts_stand_out_by_at_least_3_to_1(theme: dict[str, str]):
    for ground in ("surface", "accent-soft"):
        assert contrast(theme["data"], theme[ground]) >= 3
        assert contrast(theme["point"], theme[ground]) >= 3


def test_both_themes_define_the_same_colours():
    assert set(LIGHT) == set(DARK)


def test_there_is_a_style_for_print():
    assert "@media print" in CSS
    assert "research use only" in CSS
