"""Write cohort tables, and a commented one to begin with."""

import csv
import io
from pathlib import Path

from pellucid.cohort.columns import stratum_column
from pellucid.cohort.digest import relative_path
from pellucid.cohort.sheet import SYNTHETIC_KEY, SYNTHETIC_LINE
from pellucid.core.files import atomic_path, write_text
from pellucid.domain.cohort import Cohort, ScanEntry

_BEFORE_STRATA = ("case", "specimen", "block", "slide", "path", "patient", "split", "label", "mpp", "n_scans")

_TEMPLATE = """\
# A cohort table: one row a scan. Lines that start with # are comments.
#
# Required
#   case        the case or accession; it stays in the records, pages and tables show a pseudonym instead
#   specimen    the part of the case that a decision is about; its scans are judged together
#   path        the scan's file, relative to this table's folder
# Optional (leave a cell empty or delete a column that you don't know)
#   block       the paraffin block
#   slide       the glass slide; give two scans of one glass slide the same name
#   patient     whose it is, best a pseudonym (default: the case); a patient is in one split only
#   split       training, tuning, certification or test
#   label       the molecular result: 1, true or mutated; 0, false or wild-type; empty where unknown
#   mpp         um/px, only where the file's own scale is absent or wrong (0.05-5)
#   n_scans     how many scans the specimen has in all: its decision waits for those that have no row or file yet
# Strata: a decision without a person needs them known
#   site            where the specimen was taken or processed
#   specimen_type   such as resection or biopsy
#   procedure       such as lobectomy
#   diagnosis       confirmed where a pathologist has confirmed what the tumour is, else unconfirmed
#   stratum_...     any other of your own, such as stratum_anatomic_site
#
# Replace the examples below with your own scans, then run: pellucid cohort check THIS-FILE
case,specimen,block,slide,path,patient,split,label,mpp,site,specimen_type
CASE-001,CASE-001-A,A1,CASE-001-A1-1,slides/first.svs,PATIENT-001,test,,,my-hospital,resection
CASE-002,CASE-002-A,A1,CASE-002-A1-1,slides/second.svs,PATIENT-002,test,wild-type,0.25,my-hospital,biopsy
"""


def write_template(path: Path) -> None:
    """Write a commented example of a cohort table (CSV) for one's own slides."""
    write_text(path, _TEMPLATE)


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort as Parquet where `path` ends so, else as CSV; whole or not at all.

    Paths inside the table's folder are written relative to it. A synthetic cohort is marked as such.

    Raises:
        StorageFull: the disk is full.
    """
    path = Path(path)
    strata = sorted({name for entry in cohort.entries for name, _ in entry.strata})
    header = [*_BEFORE_STRATA, *(stratum_column(name) for name in strata)]
    rows = [_row(entry, path.parent, strata) for entry in cohort.entries]
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, header, rows, synthetic=cohort.synthetic)
    else:
        _write_csv(path, header, rows, synthetic=cohort.synthetic)


def _row(entry: ScanEntry, base: Path, strata: list[str]) -> list[str]:
    known = dict(entry.strata)
    return [
        entry.case,
        entry.specimen,
        entry.block,
        entry.slide,
        relative_path(entry.path, base),
        entry.patient,
        entry.split.value if entry.split else "",
        "" if entry.label is None else str(entry.label),
        "" if entry.mpp is None else repr(entry.mpp),
        "" if entry.n_scans is None else str(entry.n_scans),
        *(known.get(name, "") for name in strata),
    ]


def _write_csv(path: Path, header: list[str], rows: list[list[str]], *, synthetic: bool) -> None:
    text = io.StringIO()
    if synthetic:
        text.write(SYNTHETIC_LINE + "\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        # A first cell that starts with # would make the row a comment.
        writer = csv.writer(
            text, lineterminator="\n", quoting=csv.QUOTE_ALL if row[0].startswith("#") else csv.QUOTE_MINIMAL
        )
        writer.writerow(row)
    write_text(path, text.getvalue())


def _write_parquet(path: Path, header: list[str], rows: list[list[str]], *, synthetic: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [row[index] or None for row in rows] for index, name in enumerate(header)}
    types = {"label": pa.int8(), "mpp": pa.float64(), "n_scans": pa.int32()}
    convert = {"label": int, "mpp": float, "n_scans": int}
    arrays = {
        name: pa.array(
            [None if cell is None else convert.get(name, str)(cell) for cell in cells], types.get(name, pa.string())
        )
        for name, cells in columns.items()
    }
    table = pa.table(arrays).replace_schema_metadata({SYNTHETIC_KEY: b"true" if synthetic else b"false"})
    with atomic_path(path) as part:
        pq.write_table(table, part)
