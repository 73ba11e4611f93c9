"""The book of slides that failed in the middle of a training, from which a resumed one replays them."""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import PellucidError, SystemRefused
from pellucid.core.files import storage_errors, write_bytes
from pellucid.training.stream.errors import FailureBookDamaged

if TYPE_CHECKING:
    from pellucid.training.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideFailure:
    """A scan that could not be read when its step came.

    `attempt` is 0 for the scan whose turn it was, 1 for the first that stood in for it, and so on. `scan` is its
    digest, `slide` its name in the cohort.
    """

    step: int
    epoch: int
    position: int
    attempt: int
    scan: str
    slide: str
    code: str
    message: str


def read_failures(path: Path) -> tuple[SlideFailure, ...]:
    """The failures in a book, in order; none where there is no book. A last line without an end counts for nothing.

    Raises:
        FailureBookDamaged: a line isn't a failure.
    """
    return tuple(_failure(line, nth, path) for nth, line in enumerate(_whole_lines(path), start=1))


class FailureBook:
    """RUN/failures.jsonl: one failure a line, on disk before anything that follows from it is used.

    A recorded failure counts for ever, even if the slide can be read again: a training that is resumed from before it
    takes the same substitute. Only the first rank touches the file. Every method but the look-ups is collective.
    """

    def __init__(self, path: Path, ranks: "Ranks") -> None:
        """Read the book, and cut off what a killed writer left half written.

        Raises:
            FailureBookDamaged: a line of it isn't a failure.
        """
        self._path, self._ranks = path, ranks
        self._by_step: defaultdict[int, dict[str, SlideFailure]] = defaultdict(dict)
        self._take(_agreed(ranks, lambda: _opened(path)))

    def at(self, step: int) -> frozenset[str]:
        """Digests of the scans that failed at a step."""
        return frozenset(self._by_step.get(step, ()))

    def between(self, first: int, beyond: int) -> frozenset[str]:
        """Digests of the scans that failed from step `first` on, and before step `beyond`."""
        return frozenset(
            scan for step, failures in self._by_step.items() if first <= step < beyond for scan in failures
        )

    def record(self, failures: Sequence[SlideFailure]) -> None:
        """Enter failures, forced to disk when this returns.

        Raises:
            StorageFull: there is no room; nothing was entered.
            SystemRefused: the file can't be written.
        """
        self._take(_agreed(self._ranks, lambda: _append(self._path, failures)))

    def _take(self, failures: Sequence[SlideFailure]) -> None:
        for failure in failures:
            self._by_step[failure.step][failure.scan] = failure


def _agreed(ranks: "Ranks", work: Callable[[], Sequence[SlideFailure]]) -> Sequence[SlideFailure]:
    """Do the work on the first rank; all get its result, or its error."""
    outcome: Sequence[SlideFailure] | PellucidError = ()
    if ranks.is_first:
        try:
            outcome = work()
        except PellucidError as error:
            outcome = error
        except OSError as error:
            outcome = SystemRefused(f"The book of failed slides can't be read or written: {error.strerror}.")
    outcome = ranks.from_first(outcome)
    if isinstance(outcome, PellucidError):
        raise outcome
    return outcome


def _opened(path: Path) -> tuple[SlideFailure, ...]:
    failures = read_failures(path)
    whole = sum(len(line) + 1 for line in _whole_lines(path))
    if path.exists() and path.stat().st_size > whole:
        os.truncate(path, whole)
    return failures


def _append(path: Path, failures: Sequence[SlideFailure]) -> Sequence[SlideFailure]:
    lines = "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in failures).encode()
    if not path.exists():
        write_bytes(path, b"")
    with storage_errors(path), path.open("ab") as file:
        size = file.tell()
        try:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise
    return failures


def _whole_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _failure(line: bytes, nth: int, path: Path) -> SlideFailure:
    try:
        values = json.loads(line)
        failure = SlideFailure(**{item.name: values[item.name] for item in fields(SlideFailure)})
    except (ValueError, KeyError, TypeError) as error:
        raise FailureBookDamaged(f"Line {nth} of {path.name} is no failure of a slide.") from error
    if not isinstance(failure.step, int) or not isinstance(failure.scan, str):
        raise FailureBookDamaged(f"Line {nth} of {path.name} has a step or scan that is none.")
    return failure
