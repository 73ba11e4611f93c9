"""Whether a TIFF file is as long as its own directories say."""

from pathlib import Path

from pellucid.slides.errors import FileDamaged
from pellucid.slides.tiff import read_directories


def check_tiff_extent(path: Path) -> None:
    """Check that all data that a TIFF file lists lies inside the file; other files pass.

    Raises:
        FileDamaged: the file ends before its data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = max((directory.reach for directory in read_directories(file, size)), default=0)
    if end > size:
        raise FileDamaged(f"The file is truncated: its data reach to byte {end}, but it has only {size}.")
