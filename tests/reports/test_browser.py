"""Pages in a real browser, from files, without a network. Chromium must be there: its absence fails."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pellucid.reports import write_index, write_monitoring_page, write_specimen_page

pytestmark = pytest.mark.browser

PROBE = """
<script>
window.addEventListener("load", function () {
  var wide = document.documentElement.clientWidth;
  var beyond = Array.prototype.filter.call(document.body.querySelectorAll("*"), function (e) {
    return !e.closest(".scroll, .hide, .skip") && e.getBoundingClientRect().right > wide + 0.5;
  });
  document.body.setAttribute("data-wide", wide);
  document.body.setAttribute("data-scroll-wide", document.documentElement.scrollWidth);
  document.body.setAttribute("data-beyond", beyond.length);
  document.body.setAttribute("data-loaded", Array.prototype.filter.call(document.images, function (i) {
    return i.complete && i.naturalWidth > 0;
  }).length);
});
</script>
"""


def chromium(folder: Path, *options: str) -> str:
    program = shutil.which("chromium")
    assert program, "Chromium is not installed: install Debian's package chromium."
    command = [
        program,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def probed(page: Path) -> Path:
    """A copy of `page` beside it that measures itself; its policy on scripts is lifted for that."""
    text = page.read_text()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = page.with_name(f"probed-{page.name}")
    copy.write_text(text.replace("</body>", PROBE + "</body>"))
    return copy


REPORTER = """
<script>
document.querySelector("iframe").addEventListener("load", function () {
  var inside = document.querySelector("iframe").contentDocument.body;
  inside.querySelectorAll("img").forEach(function (image) { image.loading = "eager"; });
  setTimeout(function () {
    Array.prototype.forEach.call(inside.attributes, function (a) { document.body.setAttribute(a.name, a.value); });
  }, 500);
});
</script>
"""


def framed(page: Path, folder: Path, width: int) -> Path:
    """A page with `page` in a frame (headless windows are never narrower than 500 px) that repeats its measures."""
    driver = folder / "driver.html"
    driver.write_text(
        f'<!doctype html><body style="margin:0"><iframe src="{page.as_uri()}" '
        f'style="border:0;width:{width}px;height:3000px"></iframe>{REPORTER}</body>'
    )
    return driver


@pytest.fixture(scope="module")
def written(demo, certified, report) -> list[Path]:
    return [
        write_specimen_page(demo.folder, demo.specimens[1]),
        write_index(demo.folder, demo.run),
        write_monitoring_page(demo.folder, report),
        write_specimen_page(certified.folder, certified.specimens[0]),
        write_index(certified.folder, certified.run),
    ]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("page", range(5), ids=["specimen", "index", "monitoring", "answered", "certified index"])
def test_a_page_never_scrolls_sideways_and_shows_all_its_pictures(written, tmp_path, width: int, page: int):
    copy = probed(written[page])
    driver = framed(copy, tmp_path, width)
    dom = chromium(
        tmp_path,
        "--allow-file-access-from-files",
        "--dump-dom",
        "--virtual-time-budget=5000",
        f"--window-size={width},3000",
        driver.as_uri(),
    )
    measured = dict(re.findall(r'data-([a-z-]+)="(\d+)"', dom))
    assert int(measured["wide"]) == width
    assert int(measured["scroll-wide"]) <= width
    assert int(measured["beyond"]) == 0
    expected = written[page].read_text().count("<img ")
    assert int(measured["loaded"]) == expected


def test_the_pages_own_policy_lets_its_script_and_pictures_through(written, tmp_path):
    dom = chromium(tmp_path, "--dump-dom", "--virtual-time-budget=3000", written[0].as_uri())
    assert dom.count('data-opacity=""') == 4
    assert not re.search(r"<p [^>]*data-opacity[^>]*hidden", dom)


def test_the_heatmap_is_painted_over_the_thumbnail(written, tmp_path):
    picture = tmp_path / "page.png"
    chromium(tmp_path, f"--screenshot={picture}", "--window-size=1280,4000", written[0].as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 180) & (pixels[..., 1] > 150) & (pixels[..., 2] < 130)
    assert np.count_nonzero(yellow) > 500


def test_dark_mode_is_dark(written, tmp_path):
    picture = tmp_path / "dark.png"
    chromium(tmp_path, "--force-dark-mode", f"--screenshot={picture}", "--window-size=800,600", written[1].as_uri())
    corner = np.asarray(Image.open(picture).convert("L"))[590, 5]
    assert corner < 60
