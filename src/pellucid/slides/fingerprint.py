"""Whether a scan's files are still the ones that were looked at, without reading them."""

import os
from pathlib import Path

from pellucid.core.digests import digest_json
from pellucid.core.errors import PellucidError
from pellucid.slides.intake import check_file
from pellucid.slides.members import files_of


class FileChanged(PellucidError):
    """A scan's files were written to, replaced or taken away while they were being worked on."""

    code = "PEL-SLIDE-014"
    remedy = "Let the copy to this folder end, then start the same command again: the file is looked at anew."


def fingerprint(path: Path) -> str:
    """A digest of the name, size, time of change and inode of each file of a scan; no byte is read.

    Equal fingerprints of one path mean the same bytes, unless somebody wrote as many bytes over others and set the
    time of change back. The device is no part of it: a share has another one each time it is mounted.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: the file can't be read.
        FileChanged: one of its files went away meanwhile.
        OSError: the file system failed.
    """
    check_file(path)
    try:
        states = states_of(path)
    except FileNotFoundError as error:
        raise FileChanged("A file of the scan went away while it was looked at.") from error
    return digest_json([[name, str(s.st_size), str(s.st_mtime_ns), str(s.st_ino)] for name, s in states])


def require_unchanged(path: Path, expected: str) -> None:
    """Check that a scan's files are those that had this fingerprint.

    Raises:
        FileChanged: they aren't.
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: the file can't be read any more.
        OSError: the file system failed.
    """
    if fingerprint(path) != expected:
        raise FileChanged("The file is not the one that was hashed: it was written to or replaced since.")


def states_of(path: Path) -> list[tuple[str, os.stat_result]]:
    """The state of each file of a scan, by its name from the scan's folder, sorted.

    Raises:
        FileNotFoundError: one of them went away.
        OSError: the file system failed.
    """
    return sorted((file.relative_to(path.parent).as_posix(), file.stat()) for file in files_of(path))
