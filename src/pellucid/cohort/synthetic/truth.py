"""The truth of a synthetic cohort: what was planted in each scan, and where."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.errors import TruthMissing
from pellucid.cohort.synthetic.kinds import MARK, ScanKind
from pellucid.cohort.synthetic.layout import CELL_UM
from pellucid.core.files import write_bytes, write_text

TRUTH_TABLE = "truth.csv"
_COLUMNS = ("slide", "case", "specimen", "split", "kind", "strength", "tumour_fraction", "label", "scanner", "mpp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTruth:
    """What was planted in one scan.

    `slide` is the name of the scan's file without its suffix. `strength` is how far the morphology leans
    towards the label, -1..1; `tumour_fraction` the share of tissue that is tumour;
    `mpp` the true um/px, whatever the file says.
    """

    slide: str
    case: str
    specimen: str
    split: str
    kind: ScanKind
    strength: float
    tumour_fraction: float
    label: int
    scanner: str
    mpp: float


def write_truth(folder: Path, truths: list[ScanTruth]) -> None:
    """Write `truth.csv`."""
    text = io.StringIO()
    text.write(f"# {MARK} cohort: what was planted in each scan\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for truth in truths:
        rows.writerow(
            [
                truth.slide,
                truth.case,
                truth.specimen,
                truth.split,
                truth.kind.value,
                f"{truth.strength:.6f}",
                f"{truth.tumour_fraction:.6f}",
                truth.label,
                truth.scanner,
                truth.mpp,
            ]
        )
    write_text(folder / TRUTH_TABLE, text.getvalue())


def read_truth(folder: Path) -> dict[str, ScanTruth]:
    """What was planted in each scan, by its file name without suffix.

    Raises:
        TruthMissing: the folder has no truth.
    """
    path = folder / TRUTH_TABLE
    if not path.is_file():
        raise TruthMissing(f"There is no {TRUTH_TABLE} in {folder}.")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {row["slide"]: _parsed(row) for row in csv.DictReader(lines)}


def _parsed(row: dict[str, str]) -> ScanTruth:
    return ScanTruth(
        slide=row["slide"],
        case=row["case"],
        specimen=row["specimen"],
        split=row["split"],
        kind=ScanKind(row["kind"]),
        strength=float(row["strength"]),
        tumour_fraction=float(row["tumour_fraction"]),
        label=int(row["label"]),
        scanner=row["scanner"],
        mpp=float(row["mpp"]),
    )


def write_truth_mask(folder: Path, file: str, mask: NDArray[np.uint8]) -> None:
    """Write a scan's mask as PNG under `truth/`."""
    _, png = cv2.imencode(".png", mask)
    write_bytes(_mask_path(folder, file), png.tobytes())


def truth_mask(folder: Path, file: str | Path) -> tuple[NDArray[np.uint8], float]:
    """A scan's mask `(rows, columns) uint8` (0 glass, 1 tissue, 2 tumour) and the um a pixel of it spans.

    The mask's first pixel starts at the scan's upper left corner; the last row and column may reach beyond the scan.
    Tissue is what is stained and the airspaces and lumens of up to about 0.1 mm that it encloses; tumour includes its
    lumens and the strands of stroma between its glands.

    Args:
        folder: the cohort's folder.
        file: the scan's path or file name.

    Raises:
        TruthMissing: there is no mask for this scan.
    """
    path = _mask_path(folder, Path(file).name)
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    if mask is None:
        raise TruthMissing(f"There is no truth mask of {Path(file).name} in {folder}.")
    return np.asarray(mask, dtype=np.uint8), float(CELL_UM)


def _mask_path(folder: Path, file: str) -> Path:
    return folder / "truth" / f"{Path(file).stem}.png"
