"""Which bytes a scan is."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.domain.scan import ScanIdentity
from pellucid.slides.fingerprint import FileChanged, fingerprint
from pellucid.slides.members import files_of, size_of

__all__ = ["FileUnhashable", "IdentityProgress", "files_of", "identify", "identify_marked", "size_of"]

PROGRESS_BYTES = 64 << 20
"""Hashed bytes from one call of the progress function to the next."""

_PIECE = 1 << 20

IdentityProgress = Callable[[int], None]
"""Is told how many bytes are hashed so far."""


class FileUnhashable(PellucidError):
    """The system failed while reading the bytes of a file: a bad disk, a share that went away, an impossible path."""

    code = "PEL-SLIDE-015"
    remedy = "Check the disk or share that holds the file, then start the same command again: it is looked at anew."


def identify(path: Path, progress: IdentityProgress | None = None) -> ScanIdentity:
    """The SHA-256 of a scan's bytes.

    A MIRAX scan is its `.mrxs` file and the files of its folder, a VMS or VMU scan its index and the files the index
    names, a DICOM scan all instances of its series in the same folder; their digest is that of the canonical list of
    (name, digest), sorted by name. Where the file that was named lies is no part of it.

    Args:
        path: the file that names the scan.
        progress: called after each 64 MiB, so that somebody who watches can tell slow from stuck.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: the file can't be read.
        FileChanged: it was written to or replaced while it was hashed.
        FileUnhashable: the system failed while it was read.
    """
    return identify_marked(path, progress)[0]


def identify_marked(path: Path, progress: IdentityProgress | None = None) -> tuple[ScanIdentity, str]:
    """The scan's identity as `identify` gives it, and the fingerprint of the files that have it.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty, FileChanged, FileUnhashable: as `identify`.
    """
    try:
        before = fingerprint(path)
        identity = _hash(path, _Steps(progress))
        after = fingerprint(path)
    except FileNotFoundError as error:
        raise FileChanged("A file of the scan went away while it was hashed.") from error
    except OSError as error:
        raise FileUnhashable(f"The file's bytes can't be read: {error.strerror}.") from error
    except ValueError as error:  # a path that no system call takes, such as one with a null byte
        raise FileUnhashable("The file's path is none that this system can open.") from error
    if before != after:
        raise FileChanged("The file was written to or replaced while it was hashed.")
    return identity, before


@dataclass(slots=True)
class _Steps:
    """Counts the bytes of all files of a scan and tells of each 64 MiB."""

    progress: IdentityProgress | None
    done: int = 0
    buffer: bytearray = field(default_factory=lambda: bytearray(_PIECE))

    def add(self, n_bytes: int) -> None:
        before, self.done = self.done, self.done + n_bytes
        if self.progress is not None and before // PROGRESS_BYTES != self.done // PROGRESS_BYTES:
            self.progress(self.done)


def _hash(path: Path, steps: _Steps) -> ScanIdentity:
    files = files_of(path)
    if len(files) == 1:
        return ScanIdentity(digest=_digest(path, steps), size_bytes=steps.done)
    listing = sorted([file.relative_to(path.parent).as_posix(), _digest(file, steps)] for file in files)
    return ScanIdentity(digest=digest_json(listing), size_bytes=steps.done, n_files=len(files))


def _digest(path: Path, steps: _Steps) -> str:
    state = hashlib.sha256()
    view = memoryview(steps.buffer)
    with path.open("rb", buffering=0) as file:
        while n_read := file.readinto(view):
            state.update(view[:n_read])
            steps.add(n_read)
    return state.hexdigest()
