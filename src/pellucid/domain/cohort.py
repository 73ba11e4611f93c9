"""Rows of a cohort: case > specimen > block > glass slide > scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Split(StrEnum):
    """What a patient's specimens are used for."""

    TRAINING = "training"
    TUNING = "tuning"
    CERTIFICATION = "certification"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanEntry:
    """One scan of a cohort table, or one bare file.

    `label` is the molecular outcome (1 mutated, 0 wild type), None where unknown. `strata` holds what certificates
    are stratified by (site, specimen_type, ...), as sorted pairs. `mpp` overrides the file's own um/px. `n_scans` says
    how many scans its specimen has in all, None where nobody said. `row` is the line in the table, for messages; None
    for a bare file.
    """

    case: str
    specimen: str
    block: str
    slide: str
    path: Path
    patient: str
    split: Split | None = None
    label: int | None = None
    strata: tuple[tuple[str, str], ...] = ()
    mpp: float | None = None
    n_scans: int | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """All scans of a table, in its order."""

    entries: tuple[ScanEntry, ...]
    name: str
    synthetic: bool = False
    digest: str = ""

    def in_split(self, split: Split) -> tuple[ScanEntry, ...]:
        """The scans of one split."""
        return tuple(entry for entry in self.entries if entry.split is split)

    def specimens(self) -> dict[str, tuple[ScanEntry, ...]]:
        """The scans of each specimen, in the table's order."""
        groups: dict[str, list[ScanEntry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.specimen, []).append(entry)
        return {specimen: tuple(entries) for specimen, entries in groups.items()}

    def n_expected(self) -> dict[str, int]:
        """How many scans each specimen has: as many as the table says, at least those that it names."""
        return {specimen: expected_scans(entries) for specimen, entries in self.specimens().items()}


def expected_scans(entries: Sequence[ScanEntry]) -> int:
    """How many scans the specimen of these rows has: as many as they say, at least as many as there are rows."""
    return max([len(entries), *(entry.n_scans or 0 for entry in entries)])
