"""What arrives in a watched folder, as the scans of specimens."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pellucid.cohort import read_cohort
from pellucid.core.errors import PellucidError
from pellucid.core.telemetry import logs
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.pipeline.inputs import bare_entry
from pellucid.pipeline.intake import Intake
from pellucid.pipeline.watch import WatchedFolder
from pellucid.slides import files_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one look found.

    `entries` are all scans of the specimens that are known now, arrived or not; `arrived` the files among them that
    became complete. `unmatched` are files that the table doesn't name, held until it does. `problem` says why the
    table, as it is now, can't be used; what it said before still holds. `reachable` is False while the folder is away.
    """

    entries: tuple[ScanEntry, ...]
    arrived: tuple[Path, ...]
    unmatched: tuple[Path, ...] = ()
    problem: PellucidError | None = None
    reachable: bool = True


@dataclass(slots=True)
class WatchedFiles:
    """A watched folder without a table: each scan is a specimen of its own."""

    folder: WatchedFolder
    mpp: float | None = None

    def poll(self) -> Poll:
        """Look at the folder."""
        arrived = tuple(self.folder.poll())
        entries = tuple(bare_entry(path, self.mpp) for path in arrived)
        return Poll(entries=entries, arrived=arrived, reachable=self.folder.reachable)


class WatchedTable:
    """A watched folder and the cases table that says whose its scans are.

    A file is a row's where it is the very file that the row names, or the only row's whose file has its name; the
    table's other rows are expected. The table may change: it is read again once it has been left alone for a while.

    Raises:
        CohortInvalid: the table has problems at the start.
    """

    def __init__(self, folder: WatchedFolder, table: Path) -> None:
        self.folder = folder
        self.problem: PellucidError | None = None
        self._table = table
        self._read_as = _mark(table)
        self._seen_as, self._since = self._read_as, folder.clock()
        self._rows = _Rows(read_cohort(table))
        self._taken: dict[Path, _Match | None] = {}
        self._entries = self._rows.cohort.entries

    @property
    def cohort(self) -> Cohort:
        """What the table says."""
        return self._rows.cohort

    def poll(self) -> Poll:
        """Look at the table and the folder."""
        before = dict(self._taken)
        self._read_again()
        arrived = [match.file for path, match in self._taken.items() if match is not None and match != before[path]]
        for path in self.folder.poll():
            match = self._taken[path] = self._rows.find(path)
            arrived += [] if match is None else [match.file]
        self._taken = {path: match for path, match in self._taken.items() if match is not None or path.exists()}
        if before != self._taken:
            self._entries = self._rows.placed(self._taken.values())
        return Poll(
            entries=self._entries,
            arrived=tuple(dict.fromkeys(arrived)),
            unmatched=tuple(sorted(path for path, match in self._taken.items() if match is None)),
            problem=self.problem,
            reachable=self.folder.reachable,
        )

    def _read_again(self) -> None:
        """Read the table where it was changed and left alone since, and match anew what was taken."""
        now, mark = self.folder.clock(), _mark(self._table)
        if mark != self._seen_as:
            self._seen_as, self._since = mark, now
        if mark is None or mark == self._read_as or now - self._since < self.folder.settle_s:
            return
        self._read_as = mark
        try:
            self._rows = _Rows(read_cohort(self._table))
        except PellucidError as error:
            self.problem = error
            return
        self.problem = None
        self._taken = {path: self._rows.find(path) for path in self._taken}
        self._entries = self._rows.placed(self._taken.values())


@dataclass(slots=True)
class Watch:
    """Tells an intake what arrives, by a look at the folder every so many seconds; `latest` is what the last one found.

    What a share answers takes its time: look from where that holds up nobody.
    """

    source: WatchedFiles | WatchedTable
    every_s: float = 2.0
    latest: Poll | None = None
    _next_at: float = 0.0

    def poll(self, intake: Intake) -> None:
        """Look at the folder where it is time, and tell the intake."""
        clock = self.source.folder.clock
        if self.latest is not None and clock() < self._next_at:
            return
        poll = self.source.poll()
        intake.expect(poll.entries)
        intake.arrived(poll.arrived)
        self._log(poll)
        self.latest, self._next_at = poll, clock() + self.every_s

    def _log(self, poll: Poll) -> None:
        """Log what a person has to see to, once; never a file's name, which may be a patient's."""
        before = self.latest
        log = logs.get_logger("pipeline")
        if poll.problem is not None and (before is None or before.problem is not poll.problem):
            log.warning("the cases table can't be used as it is now", code=poll.problem.code)
        if len(poll.unmatched) > (0 if before is None else len(before.unmatched)):
            log.warning("files wait for the cases table to name them", n_files=len(poll.unmatched))
        if before is not None and before.reachable != poll.reachable:
            log.warning("the watched folder is there again" if poll.reachable else "the watched folder is away")


@dataclass(frozen=True, slots=True)
class _Match:
    """The row whose file arrived, by the path that the table gives it, and that file."""

    row: Path
    file: Path


class _Rows:
    """A table's rows by the files that they name."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self._paths = {entry.path for entry in cohort.entries}
        self._by_name: dict[str, list[Path]] = {}
        for path in self._paths:
            self._by_name.setdefault(_comparable(path), []).append(path)

    def find(self, path: Path) -> _Match | None:
        """The row of a scan, by any of its files; None where no row, or several, could be meant."""
        files = files_of(path)
        for file in files:
            if file in self._paths:
                return _Match(file, file)
        for file in files:
            rows = self._by_name.get(_comparable(file), [])
            if len(rows) == 1:
                return _Match(rows[0], file)
        return None

    def placed(self, matches: Iterable[_Match | None]) -> tuple[ScanEntry, ...]:
        """All rows, those whose files arrived with the place where they are."""
        places = {match.row: match.file for match in matches if match is not None}
        return tuple(replace(entry, path=places.get(entry.path, entry.path)) for entry in self.cohort.entries)


def _comparable(path: Path) -> str:
    """A file's name in one form: some systems write an accented letter as two characters."""
    return unicodedata.normalize("NFC", path.name)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino
