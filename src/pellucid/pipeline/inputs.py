"""From what a person names on the command line to the scans of a run."""

from collections.abc import Sequence
from pathlib import Path

from pellucid.cohort import read_cohort
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.pipeline.errors import NothingToRun
from pellucid.slides import files_of
from pellucid.slides.members import INDEX_SUFFIXES

TABLE_SUFFIXES = {".csv", ".parquet"}


def gather(inputs: Sequence[Path], *, mpp: float | None = None) -> Cohort:
    """A cases table, or bare slide files and folders of them.

    A bare file is a specimen and a case of its own, named by its path; its strata are unknown.

    Args:
        inputs: one table, or any number of files and folders.
        mpp: um/px override for bare files.

    Raises:
        NothingToRun: there is no scan in the inputs, or a table is mixed with files.
        CohortInvalid: the table has problems; all are listed.
    """
    tables = [path for path in inputs if path.suffix.lower() in TABLE_SUFFIXES]
    if tables and len(inputs) > 1:
        raise NothingToRun("A cases table can't be mixed with other inputs.", remedy="Give one table, or slide files.")
    if tables and mpp is not None:
        raise NothingToRun(
            "--mpp is for bare files; this is a cases table.", remedy="State um/px in the table's `mpp` column."
        )
    if tables:
        return read_cohort(tables[0])
    files = [file for path in inputs for file in _files(path)]
    if not files:
        raise NothingToRun(f"There is no file in {', '.join(map(str, inputs)) or 'the inputs'}.")
    return Cohort(entries=tuple(bare_entry(file, mpp) for file in dict.fromkeys(files)), name="files")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path.absolute()]
    files = [file.absolute() for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    return one_a_scan(files)


def one_a_scan(files: Sequence[Path]) -> list[Path]:
    """One file for each scan, sorted: without the further instances of a DICOM series and the parts of a VMS scan."""
    chosen: list[Path] = []
    parts: set[Path] = set()
    for file in sorted(files, key=lambda file: (file.suffix.lower() not in INDEX_SUFFIXES, file)):
        if file not in parts:
            chosen.append(file)
            parts.update(files_of(file))
    return sorted(chosen)


def bare_entry(file: Path, mpp: float | None) -> ScanEntry:
    """A scan that no table names: a specimen and a case of its own."""
    name = str(file)
    return ScanEntry(case=name, specimen=name, block="", slide=name, path=file, patient=name, mpp=mpp)
