"""Results as Parquet, CSV and JSON."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pellucid.core.files import atomic_path, write_bytes, write_json
from pellucid.exports.rows import Origin, ScanRow, SpecimenRow
from pellucid.exports.schema import NOTICE, SCHEMA_VERSION, SYNTHETIC_NOTICE, scan_schema, specimen_schema
from pellucid.reports.redaction import without_paths

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_results(folder: Path, specimens: Sequence[SpecimenRow], scans: Sequence[ScanRow]) -> dict[str, Path]:
    """Write the tables of a run and return their paths by file name.

    `results.parquet`, `results.csv` and `scans.parquet`, `scans.csv` hold one row a specimen and a scan; floats keep
    every bit. `results.json` holds both. Each row says `research_use_only`, `synthetic` and the versions that made it;
    the metadata of the Parquet files and the head of the JSON say it again.

    Raises:
        ValueError: a number other than a quality measure is NaN or infinite, which is no result; nothing is written.
    """
    metadata = _metadata([*(row.origin for row in specimens), *(row.origin for row in scans)])
    specimen_records = [_specimen_record(row) for row in specimens]
    scan_records = [_scan_record(row) for row in scans]
    paths = {name: folder / name for name in _FILES}
    _write_document(paths["results.json"], metadata, specimen_records, scan_records)
    _write_parquet(paths["results.parquet"], specimen_records, specimen_schema(metadata))
    _write_parquet(paths["scans.parquet"], scan_records, scan_schema(metadata))
    _write_csv(paths["results.csv"], specimen_records, specimen_schema())
    _write_csv(paths["scans.csv"], scan_records, scan_schema())
    return paths


_FILES = ("results.parquet", "results.csv", "results.json", "scans.parquet", "scans.csv")

_Record = dict[str, Any]


def _specimen_record(row: SpecimenRow) -> _Record:
    return {**_plain(row), **asdict(row.belief), **_origin(row.origin), **asdict(row.licence)}


def _scan_record(row: ScanRow) -> _Record:
    record = {**_plain(row), **asdict(row.belief), **_origin(row.origin)}
    for name in ("error_sentence", "error_remedy"):
        if record[name] is not None:
            record[name] = without_paths(record[name])
    record["quality"] = {name: _measured(value) for name, value in row.quality.items()}
    return record


def _measured(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(row: SpecimenRow | ScanRow) -> _Record:
    record = asdict(row)
    for part in ("belief", "origin", "licence"):
        record.pop(part, None)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def _origin(origin: Origin) -> _Record:
    record = asdict(origin)
    versions = record.pop("versions")
    return {**record, **versions, "research_use_only": True}


def _metadata(origins: Iterable[Origin]) -> dict[str, str]:
    distinct = list(dict.fromkeys(origins))
    synthetic = any(origin.synthetic for origin in distinct)
    return {
        "pellucid.schema_version": SCHEMA_VERSION,
        "pellucid.notice": f"{NOTICE} {SYNTHETIC_NOTICE}" if synthetic else NOTICE,
        "pellucid.synthetic": "true" if synthetic else "false",
        "pellucid.software_versions": ", ".join(dict.fromkeys(o.versions.software_version for o in distinct)),
        "pellucid.runs": ", ".join(dict.fromkeys(origin.run for origin in distinct)),
    }


def _write_document(path: Path, metadata: dict[str, str], specimens: list[_Record], scans: list[_Record]) -> None:
    write_json(
        path,
        {
            "schema_version": metadata["pellucid.schema_version"],
            "notice": metadata["pellucid.notice"],
            "research_use_only": True,
            "synthetic": metadata["pellucid.synthetic"] == "true",
            "specimens": [_in_order(record, specimen_schema()) for record in specimens],
            "scans": [_in_order(record, scan_schema()) for record in scans],
        },
    )


def _in_order(record: _Record, schema: pa.Schema) -> _Record:
    return {name: record[name] for name in schema.names}


def _write_parquet(path: Path, records: list[_Record], schema: pa.Schema) -> None:
    rows = [
        {name: list(value.items()) if isinstance(value, dict) else value for name, value in record.items()}
        for record in records
    ]
    table = pa.Table.from_pylist(rows, schema=schema)
    with atomic_path(path) as part:
        pq.write_table(table, part, compression="zstd")


def _write_csv(path: Path, records: list[_Record], schema: pa.Schema) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(schema.names)
    writer.writerows([_cell(record[name]) for name in schema.names] for record in records)
    write_bytes(path, text.getvalue().encode())


def _cell(value: Any) -> str:
    """A value as a CSV cell: empty for None, every digit of a float, and text that no spreadsheet runs as a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return _inert(";".join(f"{name}={_part(part)}" for name, part in value.items()))
    if isinstance(value, list):
        return _inert(";".join(value))
    return _inert(str(value))


def _part(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)


def _inert(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would take for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
