from dataclasses import replace

import numpy as np
import pytest

from pellucid.domain.cohort import Cohort, Split
from pellucid.training.kept_survey import surveyed_once
from pellucid.training.scans import ScanLeftOut
from pellucid.training.survey import Survey


@pytest.fixture
def cohort(entries):
    rows = [entries(number, number % 2, Split.TRAINING if number < 4 else Split.TUNING) for number in range(6)]
    return Cohort(entries=tuple(rows), name="kept")


@pytest.fixture
def made(cohort, scans):
    of = [replace(scans(n, entry.label, n_tiles=5 + n), entry=entry) for n, entry in enumerate(cohort.entries)]
    left = ScanLeftOut(slide="S9", row=3, split="training", stage="survey", code="PEL-SLIDE-006", message="cut off")
    return Survey(training=tuple(of[:4]), tuning=tuple(of[4:5]), left_out=(left,))


def never():
    raise AssertionError("the survey was made again")


def test_a_survey_is_made_once_and_comes_back_as_it_was(tmp_path, cohort, made):
    path = tmp_path / "survey.npz"
    assert surveyed_once(path, cohort, ["a"], lambda: made) is made
    moved = replace(cohort, entries=tuple(replace(one, path=tmp_path / one.path.name) for one in cohort.entries))
    again = surveyed_once(path, moved, ["a"], never)
    assert again.left_out == made.left_out
    for before, after in zip((*made.training, *made.tuning), (*again.training, *again.tuning), strict=True):
        assert after.entry.path.parent == tmp_path
        assert (before.digest, before.scale, before.features) == (after.digest, after.scale, after.features)
        np.testing.assert_array_equal(before.grid.coords, after.grid.coords)
        np.testing.assert_array_equal(before.grid.tissue_fraction, after.grid.tissue_fraction)
        assert after.grid.coords.dtype == np.int32
    assert len(again.training) == 4


@pytest.mark.parametrize("damage", ["key", "flip", "cut", "empty"])
def test_another_key_or_a_damaged_file_is_surveyed_anew(tmp_path, cohort, made, damage):
    path = tmp_path / "survey.npz"
    surveyed_once(path, cohort, ["a"], lambda: made)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: {"cut": len(data) // 2, "empty": 0}.get(damage, len(data))])
    calls = []
    surveyed_once(path, cohort, ["b" if damage == "key" else "a"], lambda: calls.append(1) or made)
    assert calls == [1]
    surveyed_once(path, cohort, ["b" if damage == "key" else "a"], never)
