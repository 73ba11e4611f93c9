"""The columns of a cohort table and how a cell becomes a value."""

import difflib
import math
from collections.abc import Sequence

from pellucid.domain.cohort import Split

REQUIRED = ("case", "specimen", "path")
OPTIONAL = ("block", "slide", "patient", "split", "label", "mpp", "n_scans")
DIAGNOSIS = "diagnosis"
STRATA = ("site", "specimen_type", "procedure", DIAGNOSIS)
STRATUM_PREFIX = "stratum_"
KNOWN = REQUIRED + OPTIONAL + STRATA
LOWEST_MPP, HIGHEST_MPP = 0.05, 5.0
MOST_SCANS = 1000

_DIAGNOSES = ("confirmed", "unconfirmed")
_LABELS = {"1": 1, "true": 1, "mutated": 1, "0": 0, "false": 0, "wild-type": 0, "wild type": 0, "wildtype": 0}


def is_known(column: str) -> bool:
    """Whether a table may have a column of this name; a stratum with a column of its own has no second one."""
    own = column.removeprefix(STRATUM_PREFIX) if column.startswith(STRATUM_PREFIX) else ""
    return column in KNOWN or bool(own and own not in STRATA)


def nearest(column: str) -> str:
    """The known column whose name is most like this one, or an empty text."""
    wanted = column.strip().lower().replace(" ", "_").replace("-", "_").removeprefix(STRATUM_PREFIX)
    return next(iter(difflib.get_close_matches(wanted, KNOWN, n=1, cutoff=0.5)), "")


def stratum_name(column: str) -> str | None:
    """The stratum that a column holds, without the prefix; None where it holds none."""
    if column in STRATA:
        return column
    return column.removeprefix(STRATUM_PREFIX) if column.startswith(STRATUM_PREFIX) else None


def stratum_column(stratum: str) -> str:
    """The column that holds a stratum."""
    return stratum if stratum in STRATA else STRATUM_PREFIX + stratum


def parse_split(cell: str) -> Split | None:
    """A split, None where empty.

    Raises:
        ValueError: no such split.
    """
    if not cell:
        return None
    try:
        return Split(cell.lower())
    except ValueError:
        raise ValueError(f"{cell!r} is no split; use {_either([split.value for split in Split])}") from None


def parse_label(cell: str) -> int | None:
    """1 for mutated, 0 for wild type, None where empty.

    Raises:
        ValueError: no such label.
    """
    if not cell:
        return None
    label = _LABELS.get(cell.lower())
    if label is None:
        raise ValueError(f"{cell!r} is no label; use 1, true or mutated; 0, false or wild-type; or leave it empty")
    return label


def parse_diagnosis(cell: str) -> str | None:
    """Whether a pathologist has confirmed the diagnosis: "confirmed" or "unconfirmed", None where empty.

    Raises:
        ValueError: another word.
    """
    if not cell:
        return None
    word = cell.lower()
    if word not in _DIAGNOSES:
        raise ValueError(f"{cell!r} is no state of a diagnosis; use {_either(_DIAGNOSES)}; or leave it empty")
    return word


def parse_mpp(cell: str) -> float | None:
    """An override of the scale in um/px, None where empty.

    Raises:
        ValueError: no number, or outside 0.05-5.
    """
    if not cell:
        return None
    try:
        mpp = float(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is no number of um/px, such as 0.25") from None
    if not (math.isfinite(mpp) and LOWEST_MPP <= mpp <= HIGHEST_MPP):
        raise ValueError(f"{cell} um/px lies outside {LOWEST_MPP:g}-{HIGHEST_MPP:g}")
    return mpp


def parse_n_scans(cell: str) -> int | None:
    """How many scans a specimen has in all, None where empty.

    Raises:
        ValueError: no whole number from 1 to 1000.
    """
    if not cell:
        return None
    if not (cell.isascii() and cell.isdigit() and len(cell) <= len(str(MOST_SCANS)) and 1 <= int(cell) <= MOST_SCANS):
        raise ValueError(f"{cell!r} is no number of scans from 1 to {MOST_SCANS}")
    return int(cell)


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
