"""Files as sheets: a header and numbered rows of text, whatever the format."""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pellucid.cohort.errors import CohortInvalid, Problem

SYNTHETIC_LINE = "# Pellucid synthetic cohort"
"""The comment that marks a synthetic cohort's CSV."""
SYNTHETIC_KEY = b"pellucid.synthetic"
"""The schema metadata that marks a synthetic cohort's Parquet."""
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as text.

    `header_row` and the first item of each row are lines of a CSV, counted from 1, comments included; of a Parquet
    file, row numbers from 1 (its header is row 0). `problems` are those of the file's form.
    """

    header: tuple[str, ...]
    header_row: int
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    synthetic: bool
    problems: tuple[Problem, ...]


def read_sheet(path: Path) -> Sheet:
    """Read a CSV or Parquet file; which one it is, its first bytes say.

    Raises:
        CohortInvalid: the file is absent, can't be read, or is neither.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, f"can't be read: {error.strerror}") from error
    if data[:4] == _PARQUET_MAGIC:
        return _read_parquet(path)
    return _read_csv(path, data)


def unreadable(path: Path, message: str, row: int | None = None) -> CohortInvalid:
    """The error of a file that is no table at all."""
    return CohortInvalid(
        f"{path} is no cohort table.",
        problems=(Problem(row, None, message),),
        remedy="Give a CSV file in UTF-8 or a Parquet file; `pellucid init` writes a commented example.",
    )


def _read_csv(path: Path, data: bytes) -> Sheet:
    text = _decoded(path, data)
    lines = _Lines(text)
    records: list[tuple[int, list[str]]] = []
    problems: list[Problem] = []
    try:
        records.extend((lines.number, [cell.strip() for cell in record]) for record in csv.reader(lines, strict=True))
    except csv.Error as error:
        problems.append(Problem(lines.number, None, f"is no CSV: {error}"))
    records = [(number, record) for number, record in records if any(record)]
    synthetic = any(line.strip() == SYNTHETIC_LINE for line in text.splitlines()[:5])
    if not records:
        return Sheet((), 1, (), synthetic, tuple(problems))
    (header_row, header), *body = records
    rows: list[tuple[int, tuple[str, ...]]] = []
    for number, record in body:
        if len(record) != len(header):
            problems.append(Problem(number, None, f"has {len(record)} cells, the header has {len(header)}"))
        rows.append((number, tuple((record + [""] * len(header))[: len(header)])))
    if len(header) == 1 and ";" in header[0]:
        problems.append(Problem(header_row, None, "cells are separated by semicolons; use commas"))
    return Sheet(tuple(header), header_row, tuple(rows), synthetic, tuple(problems))


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise unreadable(path, "is UTF-16; save it as UTF-8", 1)
    if b"\0" in data:
        raise unreadable(path, "holds bytes of 0: it is a binary file, not a CSV")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise unreadable(path, f"byte {data[error.start]:#04x} is no UTF-8; save the table as UTF-8", row) from error


class _Lines:
    """The lines of a text without its comments, and the number of the line read last."""

    def __init__(self, text: str) -> None:
        self.number = 0
        self._lines = text.splitlines(keepends=True)

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if not line.startswith("#"):
                yield line


def _read_parquet(path: Path) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, f"is a damaged Parquet file: {str(error).splitlines()[0]}") from error
    columns = [[_as_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = tuple((number, cells) for number, cells in enumerate(zip(*columns, strict=True), start=1))
    synthetic = (table.schema.metadata or {}).get(SYNTHETIC_KEY) == b"true"
    return Sheet(tuple(table.column_names), 0, rows, synthetic, ())


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip()
