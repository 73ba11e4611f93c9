"""Which files make up a scan."""

import configparser
import functools
import os
from pathlib import Path

INDEX_SUFFIXES = frozenset({".mrxs", ".vms", ".vmu"})
"""Files that name the other files of their scan, which don't name them in turn."""

_DICOM_PREAMBLE = 132
_DICOM_HEAD = 1 << 16
_SERIES_UID = b"\x20\x00\x0e\x00UI"


def files_of(path: Path) -> list[Path]:
    """The files that make up a scan, the named one first."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        folder = path.parent / path.stem
        return [path, *sorted(file for file in folder.glob("*") if file.is_file())]
    if suffix in INDEX_SUFFIXES:
        return [path, *_named_in_index(path)]
    series = _series(path)
    if series is None:
        return [path]
    siblings = (file for file in path.parent.iterdir() if file != path and file.is_file())
    return [path, *sorted(file for file in siblings if _series(file) == series)]


def size_of(path: Path) -> int:
    """The bytes of all files of a scan."""
    return sum(file.stat().st_size for file in files_of(path))


def _named_in_index(path: Path) -> list[Path]:
    """The files that an index names; none where it can't be read, which hashing it will tell."""
    index = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        index.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except (configparser.Error, OSError):
        return []
    values = {value for section in index.sections() for value in index[section].values()}
    files = (path.parent / Path(value).name for value in values if value)
    return sorted(file for file in files if file.is_file() and file != path)


def _series(path: Path) -> bytes | None:
    """The series of a DICOM instance, None for any other file.

    Whole-slide instances are explicit little endian up to their pixels, whatever compresses those (DICOM PS3.5 A.4).
    """
    try:
        state = path.stat()
        return _series_of(os.fspath(path), state.st_size, state.st_mtime_ns, state.st_ino)
    except OSError:
        return None


@functools.lru_cache(maxsize=1 << 14)
def _series_of(path: str, *_state: int) -> bytes | None:
    """Kept by size, time and inode: a watched folder is listed every few seconds, and each look costs a read."""
    with Path(path).open("rb") as file:
        head = file.read(_DICOM_PREAMBLE)
        if head[128:] != b"DICM":
            return None
        head += file.read(_DICOM_HEAD - _DICOM_PREAMBLE)
    at = head.find(_SERIES_UID)
    if at < 0:
        return None
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + length]
