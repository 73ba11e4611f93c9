"""The digest of what a cohort table says."""

import os
from collections.abc import Sequence
from pathlib import Path

from pellucid.core.digests import digest_json
from pellucid.domain.cohort import ScanEntry


def cohort_digest(entries: Sequence[ScanEntry], base: Path, *, synthetic: bool) -> str:
    """SHA-256 of the canonical content: every cell as understood, in the table's order.

    It doesn't depend on the format, the order of columns, comments, or where the folder lies.

    Args:
        entries: the scans.
        base: the table's folder, from which paths inside it are counted.
        synthetic: whether the cohort is marked as synthetic.
    """
    return digest_json({"synthetic": synthetic, "scans": [_content(entry, base) for entry in entries]})


def relative_path(path: Path, base: Path) -> str:
    """A path from the table's folder, with forward slashes; absolute where it lies outside."""
    place, folder = (Path(os.path.normpath(item.absolute())) for item in (path, base))
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else place.as_posix()


def _content(entry: ScanEntry, base: Path) -> dict[str, object]:
    content: dict[str, object] = {
        "case": entry.case,
        "specimen": entry.specimen,
        "block": entry.block,
        "slide": entry.slide,
        "path": relative_path(entry.path, base),
        "patient": entry.patient,
        "split": entry.split.value if entry.split else None,
        "label": entry.label,
        "strata": [list(pair) for pair in entry.strata],
        "mpp": entry.mpp,
    }
    # Only where it is said, so that a table without the column keeps its digest.
    return content if entry.n_scans is None else content | {"n_scans": entry.n_scans}
