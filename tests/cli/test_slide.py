"""`pellucid slide`: thin, exact, and silent about labels."""

import json

import pytest
from typer.testing import CliRunner

from pellucid.cli.slide import app
from pellucid.slides import FileMissing, ScaleContradicted, ScaleMissing

CMU, TCGA = "CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"
pytestmark = pytest.mark.real


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def answer(*arguments):
    return json.loads(call(*arguments, "--json").stdout)


def test_info(real_slides):
    said = answer("info", real_slides / CMU)
    assert (said["width"], said["height"], said["objective_power"]) == (2220, 2967, 20.0)
    assert said["scale"]["source"] == "file"
    assert said["scale_problem"] is None
    assert len(said["digest"]) == 64
    shown = call("info", real_slides / CMU).stdout
    assert "0.499 um/px" in shown
    assert "label" not in shown.lower()


def test_info_says_what_is_wrong_with_the_scale(real_slides):
    assert answer("info", real_slides / TCGA)["scale_problem"]["code"] == ScaleMissing.code
    assert "--mpp" in call("info", real_slides / TCGA).stdout
    assert answer("info", real_slides / TCGA, "--mpp", 0.25)["scale"]["detail"] == "--mpp"


def test_quality(real_slides, tmp_path):
    said = answer("quality", real_slides / CMU, "-o", tmp_path / "quality.png")
    assert all(measure["passed"] for measure in said["measures"])
    assert said["features"]["tissue_mm2"] > 0.5
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
    shown = call("quality", real_slides / "CRC-AI-15_X40_IHC.tif", "--mpp", 0.5).stdout
    assert "out_of_scope" in shown


def test_thumbnail_and_tiles(real_slides, tmp_path):
    call("thumbnail", real_slides / CMU, "-o", tmp_path / "t.png", "--max-px", 200)
    said = answer("tiles", real_slides / CMU, "-o", tmp_path / "tiles.png")
    assert said["n_tiles"] == len(said["coords"]) > 40
    assert "n_tiles" in call("tiles", real_slides / CMU).stdout
    for name in ("t.png", "tiles.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["info", "quality", "tiles"])
def test_errors_pass_through(real_slides, tmp_path, command):
    with pytest.raises(FileMissing):
        call(command, tmp_path / "gone.svs")
    with pytest.raises(ScaleContradicted):
        call(command, real_slides / CMU, "--mpp", 0.25)


def test_quality_needs_a_scale(real_slides):
    with pytest.raises(ScaleMissing):
        call("quality", real_slides / TCGA)
