"""The files of a bundle's folder, held against what its manifest says of them."""

import os
from collections.abc import Mapping
from pathlib import Path

from pellucid.bundle.errors import BundleAltered, BundleMissing, BundleUnreadable, ManifestInvalid
from pellucid.bundle.manifest import MANIFEST, SIGNATURE, FileEntry
from pellucid.core.digests import digest_bytes, digest_file


def list_files(folder: Path) -> dict[str, int]:
    """Name and size in bytes of each file in `folder`.

    Raises:
        BundleMissing: `folder` isn't a folder.
        BundleUnreadable: it can't be listed.
        BundleAltered: it holds a link, a folder or anything else that isn't a plain file.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleMissing(f"There is no bundle at {folder}.") from error
    except OSError as error:
        raise BundleUnreadable(f"The bundle {folder} can't be listed: {error.strerror}.") from error
    for entry in found:
        if not entry.is_file(follow_symlinks=False):
            raise BundleAltered(f"{entry.name} in the bundle {folder} is not a plain file.", file=entry.name)
    return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in found}


def verify_files(folder: Path, found: Mapping[str, int], listed: Mapping[str, FileEntry]) -> None:
    """Check that `found` are exactly the files `listed`: first the names, then all sizes, then all digests.

    Raises:
        BundleAltered: names the first file that is wrong, and how.
        BundleUnreadable: a file can't be read.
    """
    for name in sorted(listed.keys() - found.keys()):
        raise _altered(folder, name, "is missing")
    for name in sorted(found.keys() - listed.keys() - {MANIFEST, SIGNATURE}):
        raise _altered(folder, name, "does not belong to it")
    for name, entry in sorted(listed.items()):
        if found[name] != entry.size:
            raise _altered(folder, name, f"has {found[name]} bytes instead of {entry.size}")
    for name, entry in sorted(listed.items()):
        if _digest(folder / name) != entry.sha256:
            raise _altered(folder, name, "was altered: its digest is not the signed one")


def read_verified(folder: Path, name: str, entry: FileEntry) -> bytes:
    """The bytes of a file, which are certain to be those that the manifest vouches for.

    Raises:
        BundleAltered: they are not.
        BundleUnreadable: the file can't be read.
    """
    data = _read(folder / name)
    if digest_bytes(data) != entry.sha256:
        raise _altered(folder, name, "was altered: its digest is not the signed one")
    return data


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a small file.

    Raises:
        ManifestInvalid: it is larger than `limit` bytes.
        BundleUnreadable: it can't be read.
    """
    data = _read(path, limit + 1)
    if len(data) > limit:
        raise ManifestInvalid(f"{path.name} is larger than {limit} bytes.")
    return data


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise BundleUnreadable(f"{path} can't be read: {error.strerror}.") from error


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError as error:
        raise BundleUnreadable(f"{path} can't be read: {error.strerror}.") from error


def _altered(folder: Path, name: str, how: str) -> BundleAltered:
    return BundleAltered(f"{name} of the bundle {folder} {how}.", file=name)
