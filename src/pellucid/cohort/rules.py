"""What rows of a cohort must not say of one another."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pellucid.cohort.columns import DIAGNOSIS
from pellucid.cohort.errors import Problem
from pellucid.domain.cohort import ScanEntry


def contradictions(entries: Sequence[ScanEntry]) -> list[Problem]:
    """A problem for each row that contradicts an earlier one.

    One patient belongs to one split; one specimen to one case and one patient, and it has one label, one diagnosis and
    one number of scans, which is not below the number of its rows; one file is listed once.
    """
    return [
        *_differing(entries, "split", lambda e: e.patient, lambda e: e.split, "patient {key!r} is in split {new} here"),
        *_differing(
            entries, "case", lambda e: e.specimen, lambda e: e.case or None, "specimen {key!r} is of case {new!r} here"
        ),
        *_differing(
            entries,
            "patient",
            lambda e: e.specimen,
            lambda e: e.patient or None,
            "specimen {key!r} is of patient {new!r} here",
        ),
        *_differing(entries, "label", lambda e: e.specimen, lambda e: e.label, "specimen {key!r} has label {new} here"),
        *_differing(
            entries,
            DIAGNOSIS,
            lambda e: e.specimen,
            lambda e: dict(e.strata).get(DIAGNOSIS),
            "specimen {key!r} has the diagnosis {new} here",
        ),
        *_differing(
            entries, "n_scans", lambda e: e.specimen, lambda e: e.n_scans, "specimen {key!r} has {new} scans here"
        ),
        *_too_few_scans(entries),
        *_repeated_paths(entries),
    ]


def _differing(
    entries: Iterable[ScanEntry],
    column: str,
    key: Callable[[ScanEntry], str],
    value: Callable[[ScanEntry], object],
    sentence: str,
) -> list[Problem]:
    first: dict[str, ScanEntry] = {}
    problems = []
    for entry in entries:
        if not key(entry) or value(entry) is None:
            continue
        earlier = first.setdefault(key(entry), entry)
        if value(earlier) != value(entry):
            said = sentence.format(key=key(entry), new=_plain(value(entry)))
            old = _plain(value(earlier))
            old = repr(old) if "!r" in sentence.rpartition("{new")[2] else old
            problems.append(Problem(entry.row, column, f"{said}, but {old} in row {earlier.row}"))
    return problems


def _plain(value: object) -> object:
    return getattr(value, "value", value)


def _too_few_scans(entries: Sequence[ScanEntry]) -> list[Problem]:
    """A problem for each specimen that is said to have fewer scans than rows, where that is first said."""
    rows = Counter(entry.specimen for entry in entries)
    stated: dict[str, ScanEntry] = {}
    for entry in entries:
        if entry.specimen and entry.n_scans is not None:
            stated.setdefault(entry.specimen, entry)
    return [
        Problem(
            entry.row, "n_scans", f"specimen {name!r} has {entry.n_scans} scans here, but {rows[name]} rows name one"
        )
        for name, entry in stated.items()
        if entry.n_scans is not None and entry.n_scans < rows[name]
    ]


def _repeated_paths(entries: Iterable[ScanEntry]) -> list[Problem]:
    first: dict[Path, ScanEntry] = {}
    problems = []
    for entry in entries:
        if entry.path == Path():
            continue
        earlier = first.setdefault(entry.path, entry)
        if earlier is not entry:
            problems.append(Problem(entry.row, "path", f"this file is already listed in row {earlier.row}"))
    return problems
