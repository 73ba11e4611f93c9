"""Digests of a checkpoint's files, several at a time."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pellucid.core.digests import digest_file

THREADS = 4


def digest_files(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, int]]:
    """SHA-256 and size in bytes of each named file.

    Hashing lets other threads run, so it goes as fast as there are cores.

    Raises:
        OSError: one can't be read.
    """
    wanted = sorted(names)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hash") as pool:
        found = pool.map(lambda name: (digest_file(folder / name), (folder / name).stat().st_size), wanted)
        return dict(zip(wanted, found, strict=True))


def forget_cached(folder: Path) -> None:
    """Ask the system to drop the files from its page cache, so that what is read next comes from the disk."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
