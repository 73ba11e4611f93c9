import dataclasses
import hashlib

import pytest

from pellucid.cohort import (
    FolderOccupied,
    ScanKind,
    SynthesisConfig,
    TruthMissing,
    read_cohort,
    read_truth,
    synthesise,
    truth_mask,
)
from pellucid.cohort.synthetic.kinds import MARK

TINY = SynthesisConfig(
    seed=1,
    n_training=1,
    n_tuning=0,
    n_test=0,
    special=((ScanKind.PENNED, 1), (ScanKind.CORRUPT_TILES, 1)),
    slide_px=1024,
    p_generic_tiff=0.5,
    p_label_page=0.5,
)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(tmp_path):
    for name, workers in (("a", 1), ("b", 2)):
        synthesise(tmp_path / name, TINY, workers=workers)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_gives_other_slides(tmp_path):
    synthesise(tmp_path / "a", TINY, workers=1)
    before = digests(tmp_path / "a")
    synthesise(tmp_path / "a", dataclasses.replace(TINY, seed=2), workers=1)
    after = digests(tmp_path / "a")
    assert not {value for name, value in before.items() if "slides" in name} & set(after.values())
    assert len(after) == len(before)


def test_progress_counts_to_the_end(tmp_path):
    seen = []
    synthesise(tmp_path / "a", TINY, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FolderOccupied):
        synthesise(tmp_path, TINY, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_cohort_is_marked_synthetic_everywhere(synthetic_folder):
    assert read_cohort(synthetic_folder / "cohort.csv").synthetic
    for name in ("README.txt", "SYNTHETIC", "truth.csv", "cohort.csv"):
        assert MARK in (synthetic_folder / name).read_text()


def test_table_and_truth_speak_of_the_same_scans(synthetic_folder):
    cohort = read_cohort(synthetic_folder / "cohort.csv")
    truths = read_truth(synthetic_folder)
    assert {entry.path.stem for entry in cohort.entries} == set(truths)
    for entry in cohort.entries:
        truth = truths[entry.path.stem]
        assert (entry.case, entry.specimen, entry.label) == (truth.case, truth.specimen, truth.label)
        assert {name for name, _ in entry.strata} == {"site", "specimen_type"}
        assert entry.path.is_file()
    assert {truth.kind for truth in truths.values()} == set(ScanKind)


def test_truth_that_is_absent_is_a_coded_error(tmp_path, synthetic_folder):
    with pytest.raises(TruthMissing):
        read_truth(tmp_path)
    with pytest.raises(TruthMissing):
        truth_mask(synthetic_folder, "nothing.svs")
