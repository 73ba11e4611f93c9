"""The seam at which slide readers join: four members."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.scan import ScanInfo


@runtime_checkable
class Slide(Protocol):
    """An open scan: what it says of itself, and its pixels; never its label or macro image.

    Whoever opens a slide closes it, best by `with`. One thread uses it at a time.
    """

    @property
    def path(self) -> Path:
        """The file that was opened."""
        ...

    @property
    def info(self) -> ScanInfo:
        """What the file says of itself."""
        ...

    def read_region(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> NDArray[np.uint8]:
        """Decode a region, `(height, width, 3)` RGB; white where the scan has no pixels.

        Args:
            x: left edge in level-0 pixels.
            y: upper edge in level-0 pixels.
            width: width in pixels of `level`.
            height: height in pixels of `level`.
            level: index into `info.level_downsamples`.

        Raises:
            RegionUnreadable: it can't be decoded; the slide stays usable.
        """
        ...

    def close(self) -> None:
        """Release the file; closing twice is harmless."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
