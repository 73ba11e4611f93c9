"""A folder that scanners or people copy scans into, looked at from time to time."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pellucid.pipeline.inputs import TABLE_SUFFIXES, one_a_scan
from pellucid.slides.fingerprint import states_of
from pellucid.slides.members import INDEX_SUFFIXES

PARTIAL_SUFFIXES = frozenset({".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload"})
"""What copying programs call a file until it is whole."""

Marks = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of change in ns and inode of each file of a scan."""


@dataclass(slots=True)
class _Scan:
    """A scan as last seen: `since` when it is what it is, and whether it was taken."""

    marks: Marks
    blocks: int
    since: float
    taken: bool = False


class WatchedFolder:
    """The scans of a folder that are complete, each told once, and again when it was replaced.

    A scan is complete once a marker file says so (`a.svs.done` beside `a.svs`, no older than the scan), or once none
    of its files changed for a while. Whatever changes them makes that while begin anew, and so does a time in which
    the folder can't be seen. A copying program that reserves the whole size first and sets the time of change last
    can't be told from one that is done when it pauses for longer: such uploads need the marker.

    The folder is listed each time: no file system tells of changes that another machine makes on a share. Folders
    within it are not looked at, but for those that belong to a scan.

    Args:
        folder: the folder; it need not be there yet.
        settle_s: seconds without any change after which a scan is complete.
        marker_suffix: what a marker's name adds to that of the scan's file; None where there are no markers.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settle_s: float,
        marker_suffix: str | None = ".done",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder.absolute()
        self.settle_s = settle_s
        self.reachable = False
        self._marker_suffix = marker_suffix
        self.clock = clock
        self._scans: dict[Path, _Scan] = {}

    def poll(self) -> list[Path]:
        """Look at the folder: the scans that became complete since the last look, sorted.

        Where the folder can't be listed, `reachable` is False until it can; nothing is forgotten over that.
        """
        now = self.clock()
        try:
            paths = one_a_scan(self._candidates())
        except OSError:
            self.reachable = False
            return []
        if not self.reachable:
            self._start_anew(now)
        self.reachable = True
        self._scans = {path: scan for path in paths if (scan := self._look(path, now)) is not None}
        return [path for path, scan in self._scans.items() if self._take(path, scan, now)]

    @property
    def settling(self) -> tuple[Path, ...]:
        """The scans that are here but not known to be complete."""
        return tuple(path for path, scan in self._scans.items() if not scan.taken)

    def _candidates(self) -> list[Path]:
        with os.scandir(self.folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_file() and self._may_be_scan(Path(entry.name))]

    def _may_be_scan(self, name: Path) -> bool:
        if self._marker_suffix is not None and name.name.endswith(self._marker_suffix):
            return False
        return not name.name.startswith(".") and name.suffix.lower() not in PARTIAL_SUFFIXES | TABLE_SUFFIXES

    def _start_anew(self, now: float) -> None:
        """A copy that stood still because the share was away looks the same as one that is done."""
        for scan in self._scans.values():
            scan.since = now

    def _look(self, path: Path, now: float) -> _Scan | None:
        try:
            states = states_of(path)
        except OSError:
            return None
        marks = tuple((name, state.st_size, state.st_mtime_ns, state.st_ino) for name, state in states)
        blocks = sum(state.st_blocks for _, state in states)
        known = self._scans.get(path)
        if known is not None and known.marks == marks and (known.taken or known.blocks == blocks):
            return known
        return _Scan(marks=marks, blocks=blocks, since=now)

    def _take(self, path: Path, scan: _Scan, now: float) -> bool:
        if scan.taken or not self._is_complete(path, scan, now):
            return False
        scan.taken = True
        return True

    def _is_complete(self, path: Path, scan: _Scan, now: float) -> bool:
        if path.suffix.lower() in INDEX_SUFFIXES and len(scan.marks) == 1:
            return False  # its other files are still to come
        return now - scan.since >= self.settle_s or self._is_marked(path, scan)

    def _is_marked(self, path: Path, scan: _Scan) -> bool:
        """Whether there is a marker that speaks of these files, not of what they replaced."""
        if self._marker_suffix is None:
            return False
        try:
            marked_at = path.with_name(path.name + self._marker_suffix).stat().st_mtime_ns
        except OSError:
            return False
        return marked_at >= max(changed_at for _, _, changed_at, _ in scan.marks)
