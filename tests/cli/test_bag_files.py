"""`pellucid bag import` and `bag export` as a person calls them."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from pellucid.encoders import read_bag

CORNERS = np.array([[0, 0], [512, 0], [0, 512]])
FEATURES = np.linspace(-1, 1, 12).reshape(3, 4)


def pellucid(*arguments):
    command = [sys.executable, "-m", "pellucid", "bag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def stamp_folder(tmp_path):
    folder = tmp_path / "uni2"
    folder.mkdir()
    with h5py.File(folder / "slide-7.h5", "w") as file:
        file["coords"] = (CORNERS * 0.25).astype(np.float32)
        file["feats"] = FEATURES.astype(np.float16)
        file.attrs.update({"unit": "um", "tile_size_um": 128.0, "tile_size_px": 256, "extractor": "uni2"})
    return folder


def test_import_and_export_are_a_round_trip(tmp_path, stamp_folder):
    done = pellucid("import", stamp_folder, "--from", "stamp", "--mpp", "0.25", "--out", tmp_path / "bags")
    assert done.returncode == 0, done.stderr
    assert "1 written" in done.stdout
    bag = read_bag(tmp_path / "bags" / "slide-7.bag.safetensors")
    assert np.array_equal(bag.coords, CORNERS)

    done = pellucid("export", tmp_path / "bags", "--to", "stamp", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "again" / "slide-7.h5") as file, h5py.File(stamp_folder / "slide-7.h5") as original:
        assert np.array_equal(file["coords"][:], original["coords"][:])
        assert np.array_equal(file["feats"][:], original["feats"][:])
        assert file.attrs["extractor"] == "uni2"
        assert float(file.attrs["tile_size_um"]) == 128.0


def test_failed_files_end_with_status_1_their_code_and_what_to_do(tmp_path, stamp_folder):
    done = pellucid("import", stamp_folder, "--out", tmp_path / "bags")
    assert done.returncode == 1
    assert "PEL-MODEL-028" in done.stderr
    assert "slide-7.h5: [PEL-MODEL-024]" in done.stderr
    assert "--mpp" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_holds_every_outcome(tmp_path, stamp_folder):
    (stamp_folder / "bad.h5").write_text("no HDF5")
    done = pellucid("import", stamp_folder, "--mpp", "0.25", "--out", tmp_path / "bags", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["written"] == ["slide-7.bag.safetensors"]
    assert [problem["code"] for problem in told["problems"]] == ["PEL-MODEL-020"]
