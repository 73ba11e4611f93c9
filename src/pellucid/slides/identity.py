"""Which bytes a scan is."""

import configparser
from pathlib import Path

from pellucid.core.digests import digest_file, digest_json
from pellucid.domain.scan import ScanIdentity
from pellucid.slides.intake import check_file

_DICOM_HEAD = 1 << 16
_SERIES_UID = b"\x20\x00\x0e\x00UI"


def identify(path: Path) -> ScanIdentity:
    """The SHA-256 of a scan's bytes.

    A MIRAX scan is its `.mrxs` file and the files of its folder, a VMS or VMU scan its index and the files the index
    names, a DICOM scan all instances of its series in the same folder; their digest is that of the canonical list of
    (name, digest), sorted by name. Where the file that was named lies is no part of it.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: the file can't be read.
    """
    check_file(path)
    files = files_of(path)
    size = sum(file.stat().st_size for file in files)
    if len(files) == 1:
        return ScanIdentity(digest=digest_file(path), size_bytes=size)
    listing = sorted([file.relative_to(path.parent).as_posix(), digest_file(file)] for file in files)
    return ScanIdentity(digest=digest_json(listing), size_bytes=size, n_files=len(files))


def size_of(path: Path) -> int:
    """The bytes of all files of a scan."""
    return sum(file.stat().st_size for file in files_of(path))


def files_of(path: Path) -> list[Path]:
    """The files that make up a scan, the named one first."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        folder = path.parent / path.stem
        return [path, *sorted(file for file in folder.glob("*") if file.is_file())]
    if suffix in {".vms", ".vmu"}:
        return [path, *_named_in_index(path)]
    series = _series(path)
    if series is None:
        return [path]
    siblings = (file for file in path.parent.iterdir() if file != path and file.is_file())
    return [path, *sorted(file for file in siblings if _series(file) == series)]


def _named_in_index(path: Path) -> list[Path]:
    index = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        index.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except configparser.Error:
        return []
    values = {value for section in index.sections() for value in index[section].values()}
    files = (path.parent / Path(value).name for value in values if value)
    return sorted(file for file in files if file.is_file() and file != path)


def _series(path: Path) -> bytes | None:
    """The series of a DICOM instance, None for any other file.

    Whole-slide instances are explicit little endian up to their pixels, whatever compresses those (DICOM PS3.5 A.4).
    """
    try:
        with path.open("rb") as file:
            head = file.read(_DICOM_HEAD)
    except OSError:
        return None
    if head[128:132] != b"DICM":
        return None
    at = head.find(_SERIES_UID)
    if at < 0:
        return None
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + length]
