"""Intake: each scan is hashed once, filed under its specimen, and its work entered into the task table."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.domain.scan import ScanIdentity
from pellucid.pipeline.filing import Arrival, Entered, Filing, KeyParts
from pellucid.records import Records
from pellucid.slides import FileMissing
from pellucid.slides.fingerprint import FileChanged, fingerprint

__all__ = ["Entered", "Filing", "Intake", "KeyParts", "identify_cached"]

_STEP_S = 0.5
"""How long one look for a file to hash goes on over files that are known: the caller has leases to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    content: ScanIdentity | PellucidError
    fingerprint: str | None = None


@dataclass(slots=True)
class Intake:
    """Scans on their way in. A specimen is entered once none of its files that are here is left to be hashed.

    Files are first expected, then arrive, are hashed by whoever asks `to_identify`, and answered by `identified` or
    `unreadable`. What was hashed before, under the same path and fingerprint, is known without it. For one thread
    at a time; any method may block on the database or on the file system.
    """

    filing: Filing
    _rows: dict[str, tuple[ScanEntry, ...]] = field(default_factory=dict)
    _places: dict[Path, set[str]] = field(default_factory=dict)
    _waiting: deque[Path] = field(default_factory=deque)
    _in_hand: set[Path] = field(default_factory=set)
    _replaced: set[Path] = field(default_factory=set)
    _answers: dict[Path, _Answer] = field(default_factory=dict)
    _changed: dict[str, None] = field(default_factory=dict)
    _entered: list[Entered] = field(default_factory=list)
    _closed: bool = False
    _healed: bool = False

    @classmethod
    def of(cls, cohort: Cohort, filing: Filing) -> "Intake":
        """The intake of a cohort whose files are all here, or never will be."""
        intake = cls(filing)
        intake.expect(cohort.entries)
        intake.arrived(entry.path for entry in cohort.entries)
        return intake

    def expect(self, entries: Iterable[ScanEntry]) -> None:
        """Take note of all scans of some specimens, in place of what was noted of them before."""
        groups: dict[str, list[ScanEntry]] = {}
        for entry in entries:
            groups.setdefault(entry.specimen, []).append(entry)
        for specimen, rows in groups.items():
            before = self._rows.get(specimen, ())
            if before == tuple(rows):
                continue
            for row in before:
                self._places[row.path].discard(specimen)
            for row in rows:
                self._places.setdefault(row.path, set()).add(specimen)
            self._rows[specimen] = tuple(rows)
            self._changed[specimen] = None

    def arrived(self, paths: Iterable[Path]) -> None:
        """Take note that expected files are here: for the first time, or with other bytes than before."""
        for path in dict.fromkeys(paths):
            if path in self._in_hand and path not in self._waiting:
                self._replaced.add(path)
            elif path not in self._in_hand:
                self._in_hand.add(path)
                self._waiting.append(path)

    def to_identify(self) -> Path | None:
        """The next file to be hashed; None where there is none now.

        Specimens that are complete by then are entered. After half a second of that, None is given too: ask again
        while `n_waiting` isn't 0.
        """
        self._heal()
        until = time.monotonic() + _STEP_S
        while time.monotonic() < until:
            if self._enter_next():
                continue
            if not self._waiting:
                return None
            path = self._waiting[0]
            known = identify_cached(self.filing.records, path)
            self._waiting.popleft()
            if known is None:
                return path
            self._answer(path, _Answer(content=known[0], fingerprint=known[1]))
        return None

    def identified(self, path: Path, identity: ScanIdentity, fingerprint: str) -> None:
        """A file was hashed, and had this fingerprint before and after."""
        self.filing.records.remember_identity(str(path.absolute()), fingerprint, identity)
        self._answer(path, _Answer(content=identity, fingerprint=fingerprint))

    def unreadable(self, path: Path, error: PellucidError) -> None:
        """A file could not be hashed. Where more may come, one that changed or went away is waited for again."""
        if self.filing.open_ended and isinstance(error, FileChanged | FileMissing):
            self._answers.pop(path, None)
            self._settled(path)
        else:
            self._answer(path, _Answer(content=error))

    def entered(self) -> tuple[Entered, ...]:
        """The specimens that were entered since this was asked last; a specimen may be entered again and again."""
        while self._enter_next():
            pass
        entered, self._entered = tuple(self._entered), []
        return entered

    def close(self) -> None:
        """Take note that nothing more will arrive."""
        self._closed = True

    @property
    def finished(self) -> bool:
        """Whether all that will come is entered and was told."""
        idle = not (self._in_hand or self._changed or self._entered)
        return idle and (self._closed or not self.filing.open_ended)

    def is_pending(self, specimen: str) -> bool:
        """Whether a specimen is still to be entered, for the first time or anew."""
        rows = self._rows.get(specimen, ())
        return specimen in self._changed or any(row.path in self._in_hand for row in rows)

    @property
    def n_files(self) -> int:
        """Files that are here or were, hashed or not."""
        return len(self._answers.keys() | self._in_hand)

    @property
    def n_hashed(self) -> int:
        """Those of them whose identity is known, or that could not be read."""
        return len(self._answers.keys() - self._in_hand)

    @property
    def n_waiting(self) -> int:
        """Files that nobody has taken to be hashed."""
        return len(self._waiting)

    def _answer(self, path: Path, answer: _Answer) -> None:
        self._answers[path] = answer
        self._settled(path)

    def _settled(self, path: Path) -> None:
        self._in_hand.discard(path)
        self._changed.update(dict.fromkeys(sorted(self._places.get(path, ()))))
        if path in self._replaced:
            self._replaced.discard(path)
            self.arrived([path])

    def _enter_next(self) -> bool:
        """Enter a specimen of which no file is in hand; False where there is none."""
        while self._changed:
            specimen = next(iter(self._changed))
            rows = self._rows[specimen]
            ready = not any(row.path in self._in_hand for row in rows)
            if ready:
                self._enter(rows)
            # One with a file in hand is looked at again when that is settled.
            del self._changed[specimen]
            if ready:
                return True
        return False

    def _enter(self, rows: Sequence[ScanEntry]) -> None:
        here = [(row, self._answers[row.path]) for row in rows if row.path in self._answers]
        parts = self.filing.parts
        arrivals = [Arrival.of(row, answer.content, parts, answer.fingerprint) for row, answer in here]
        self._healed = False  # until it is entered as a whole
        self._entered.append(self.filing.enter(rows, arrivals))
        self._healed = True

    def _heal(self) -> None:
        """Finish what may have been broken off: a conflict that ended, its tasks not yet queued again."""
        if not self._healed:
            again = self.filing.released()
            if again:
                self.filing.records.retry_failed(keys=again, run_id=self.filing.run_id)
            self._healed = True


def identify_cached(records: Records, path: Path) -> tuple[ScanIdentity, str] | None:
    """A file's identity and fingerprint where the same file was hashed before, None where it must be hashed."""
    try:
        mark = fingerprint(path)
    except (PellucidError, OSError, ValueError):  # whoever hashes the file meets the same and tells it
        return None
    known = records.known_identity(str(path.absolute()), mark)
    return None if known is None else (known, mark)
