"""Read a cohort table, with every problem reported at once."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pellucid.cohort import columns
from pellucid.cohort.digest import cohort_digest
from pellucid.cohort.errors import CohortInvalid, Problem
from pellucid.cohort.rules import contradictions
from pellucid.cohort.sheet import Sheet, read_sheet
from pellucid.domain.cohort import Cohort, ScanEntry

T = TypeVar("T")


def read_cohort(path: Path) -> Cohort:
    """Read a cohort table, CSV (UTF-8, lines that start with `#` are comments) or Parquet.

    Required columns: `case`, `specimen`, `path` (relative to the table's folder; absolute in the result). Optional:
    `block`, `slide`, `patient` (the case where empty), `split`, `label`, `mpp`, `n_scans` (how many scans the specimen
    has in all, those without a row included), the strata `site`, `specimen_type`, `procedure`, `diagnosis` (confirmed
    or unconfirmed) and any `stratum_*`. A row without `slide` is a glass slide of its own, numbered within its
    specimen. A scan whose file is absent is no problem of the table.

    Raises:
        CohortInvalid: the file is no table, or has problems; all are listed with row and column.
    """
    path = Path(path)
    sheet = read_sheet(path)
    problems = [*sheet.problems, *_header_problems(sheet)]
    entries = []
    if sheet.header:
        for number, cells in sheet.rows:
            # A repeated column is reported above; its first occurrence counts.
            row = dict(reversed(list(zip(sheet.header, cells, strict=True))))
            entries.append(_entry(row, number, path.parent, problems))
    problems += contradictions(entries)
    if problems:
        ordered = tuple(sorted(problems, key=lambda problem: problem.row if problem.row is not None else -1))
        count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
        raise CohortInvalid(f"{path} has {count}.", problems=ordered)
    named = _with_slides(entries)
    return Cohort(
        entries=named,
        name=path.stem,
        synthetic=sheet.synthetic,
        digest=cohort_digest(named, path.parent, synthetic=sheet.synthetic),
    )


def _header_problems(sheet: Sheet) -> list[Problem]:
    if not sheet.header:
        return [Problem(None, None, "the table is empty")]
    row = sheet.header_row
    problems = [
        Problem(row, name, "this required column is missing") for name in columns.REQUIRED if name not in sheet.header
    ]
    for name, count in Counter(sheet.header).items():
        if count > 1:
            problems.append(Problem(row, name or None, f"this column appears {count} times"))
        if not columns.is_known(name):
            problems.append(Problem(row, name or None, _unknown(name)))
    if not sheet.rows:
        problems.append(Problem(None, None, "the table has no rows"))
    return problems


def _unknown(name: str) -> str:
    if not name:
        return "a column has no name"
    near = columns.nearest(name)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(columns.KNOWN)}"
    return f"this column is unknown: {hint} (a stratum of your own is named stratum_...)"


def _entry(row: dict[str, str], number: int, base: Path, problems: list[Problem]) -> ScanEntry:
    def parsed(column: str, parse: Callable[[str], T | None]) -> T | None:
        try:
            return parse(row.get(column, ""))
        except ValueError as error:
            problems.append(Problem(number, column, str(error)))
            return None

    empty = [column for column in columns.REQUIRED if column in row and not row[column]]
    problems += [Problem(number, column, "this cell is empty") for column in empty]
    case = row.get("case", "")
    strata = {columns.stratum_name(column): cell for column, cell in row.items() if cell}
    diagnosis = parsed(columns.DIAGNOSIS, columns.parse_diagnosis)
    if diagnosis is not None:
        strata[columns.DIAGNOSIS] = diagnosis
    return ScanEntry(
        case=case,
        specimen=row.get("specimen", ""),
        block=row.get("block", ""),
        slide=row.get("slide", ""),
        path=Path(os.path.normpath((base / row["path"]).absolute())) if row.get("path") else Path(),
        patient=row.get("patient", "") or case,
        split=parsed("split", columns.parse_split),
        label=parsed("label", columns.parse_label),
        strata=tuple(sorted((name, cell) for name, cell in strata.items() if name)),
        mpp=parsed("mpp", columns.parse_mpp),
        n_scans=parsed("n_scans", columns.parse_n_scans),
        row=number,
    )


def _with_slides(entries: list[ScanEntry]) -> tuple[ScanEntry, ...]:
    """Name the glass slide of each row that doesn't: by its place within the specimen, never by its file."""
    taken = {(entry.specimen, entry.slide) for entry in entries}
    counts: Counter[str] = Counter()
    named = []
    for entry in entries:
        if not entry.slide:
            while True:
                counts[entry.specimen] += 1
                slide = f"{entry.specimen}-{counts[entry.specimen]}"
                if (entry.specimen, slide) not in taken:
                    break
            entry = dataclasses.replace(entry, slide=slide)
        named.append(entry)
    return tuple(named)
