"""From what a person names on the command line to the scans of a run."""

from collections.abc import Sequence
from pathlib import Path

from pellucid.cohort import read_cohort
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.pipeline.errors import NothingToRun

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
    return Cohort(entries=tuple(_bare(file, mpp) for file in dict.fromkeys(files)), name="files")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path.absolute()]
    return sorted(file.absolute() for file in path.iterdir() if file.is_file() and not file.name.startswith("."))


def _bare(file: Path, mpp: float | None) -> ScanEntry:
    name = str(file)
    return ScanEntry(case=name, specimen=name, block="", slide=name, path=file, patient=name, mpp=mpp)
