"""The evaluation page in a real browser, from a file: nothing overflows, every picture shows, the controls work."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assessed import POLICY, population, specimen
from pellucid.reports.evaluation import write_evaluation
from reports.test_browser import chromium, framed, probed
from reports.test_evaluation import HOSTILE, report, with_pictures

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    made = population(120, several=True)
    wrong = {case.pseudonym for case in report(*made).worst.cases[1:]}
    return write_evaluation(
        folder, report(*(with_pictures(one, folder) if one.pseudonym in wrong else one for one in made))
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """Hardly anything to show, and names as long as a table allows."""
    folder = tmp_path_factory.mktemp("bare")
    policy = replace(POLICY, name="x" * 90, certificates=(), model=None, gates=None)
    strata = {"site": HOSTILE + "y" * 120, "specimen_type": "z" * 120}
    return write_evaluation(folder, report(specimen("one", 3.0, 0, strata=strata, policy=policy), policy=policy))


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["full", "bare"])
def test_the_page_never_scrolls_sideways_and_shows_all_its_pictures(name, width, request, tmp_path):
    page = request.getfixturevalue(name)
    dom = chromium(
        tmp_path,
        "--allow-file-access-from-files",
        "--dump-dom",
        "--virtual-time-budget=5000",
        f"--window-size={width},3000",
        framed(probed(page), tmp_path, width).as_uri(),
    )
    measured = dict(re.findall(r'data-([a-z-]+)="(\d+)"', dom))
    assert int(measured["wide"]) == width
    assert int(measured["scroll-wide"]) <= width
    assert int(measured["beyond"]) == 0
    assert int(measured["loaded"]) == page.read_text().count("<img ")


def test_the_pages_own_policy_lets_its_script_and_pictures_through(full, tmp_path):
    dom = chromium(tmp_path, "--dump-dom", "--virtual-time-budget=3000", full.as_uri())
    assert dom.count('data-opacity=""') > 0
    assert not re.search(r"<p [^>]*data-opacity[^>]*hidden", dom)


def test_dark_mode_is_dark_and_its_charts_show(full, tmp_path):
    picture = tmp_path / "dark.png"
    chromium(tmp_path, "--force-dark-mode", f"--screenshot={picture}", "--window-size=1000,6000", full.as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels[590, 5].max() < 60
    light_blue = (pixels[..., 2] > 190) & (pixels[..., 0] < 140)
    assert np.count_nonzero(light_blue) > 2000


def test_it_prints_on_white(full, tmp_path):
    made = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={made}", "--no-pdf-header-footer", full.as_uri())
    assert made.read_bytes().startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type /Page\b", made.read_bytes())) <= 40
