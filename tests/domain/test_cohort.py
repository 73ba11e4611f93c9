"""A cohort's scans by split and by specimen, in the table's order."""

from pathlib import Path

from pellucid.domain.cohort import Cohort, ScanEntry, Split


def _entry(slide: str, specimen: str, split: Split | None) -> ScanEntry:
    return ScanEntry(
        case="C", specimen=specimen, block="B", slide=slide, path=Path(f"{slide}.svs"), patient="P", split=split
    )


_COHORT = Cohort(
    name="c",
    entries=(
        _entry("1", "S2", Split.TEST),
        _entry("2", "S1", Split.TRAINING),
        _entry("3", "S2", Split.TEST),
        _entry("4", "S3", None),
    ),
)


def test_a_specimen_has_all_its_scans_in_order() -> None:
    groups = _COHORT.specimens()
    assert list(groups) == ["S2", "S1", "S3"]
    assert [entry.slide for entry in groups["S2"]] == ["1", "3"]


def test_a_split_has_its_scans_only() -> None:
    assert [entry.slide for entry in _COHORT.in_split(Split.TEST)] == ["1", "3"]
    assert _COHORT.in_split(Split.TUNING) == ()
