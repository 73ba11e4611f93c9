"""Whether a path can be a scan at all, judged before any decoder sees it."""

from pathlib import Path

from pellucid.slides.errors import (
    DimensionsImplausible,
    FileEmpty,
    FileForbidden,
    FileIsFolder,
    FileMissing,
)

MAX_PX_PER_BYTE = 5000
"""JPEG spends at least a byte on 60 pixels of blank glass, JPEG 2000 on some 700; tiles left out cost nothing, but
no scanner leaves out nearly all of them."""

MAX_STORED_TILE_PX = 1 << 26
"""A compressed tile is decoded whole; scanners store 256 x 256 to 4096 x 4096, and this many take 256 MiB."""


def check_file(path: Path) -> None:
    """Check that `path` is a regular file with bytes that this account may read.

    Raises:
        FileMissing, FileForbidden, FileIsFolder, FileEmpty: it isn't.
    """
    try:
        if not path.exists():
            raise FileMissing(f"There is no file {path}.")
        if not path.is_file():
            raise FileIsFolder(f"{path} is {'a folder' if path.is_dir() else 'no regular file'}, not a slide file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise FileEmpty(f"{path} is empty.")
    except PermissionError as error:
        raise FileForbidden(f"{path} may not be read by this account.") from error


def check_extent(width: int, height: int, size_bytes: int) -> None:
    """Check that claimed level-0 pixels can come from so few bytes.

    Raises:
        DimensionsImplausible: they can't, or are more than a 32-bit grid holds.
    """
    if width < 1 or height < 1 or max(width, height) >= 1 << 31 or width * height > size_bytes * MAX_PX_PER_BYTE:
        raise DimensionsImplausible(f"The file claims {width} x {height} pixels but has only {size_bytes} bytes.")


def check_stored_tile(width: int, height: int) -> None:
    """Check that a compressed tile, as the file claims it, can be decoded in bounded memory.

    Raises:
        DimensionsImplausible: it can't.
    """
    if width * height > MAX_STORED_TILE_PX:
        raise DimensionsImplausible(f"The file claims compressed tiles of {width} x {height} pixels.")
