"""The few scans that a reader holds open."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pellucid.engine.messages import ScanFile
from pellucid.slides import Slide, open_slide, render_thumbnail
from pellucid.slides.fingerprint import require_unchanged
from pellucid.slides.identity import FileUnhashable


class OpenScan:
    """An open scan, whose bytes are the identified ones."""

    def __init__(self, file: ScanFile, slide: Slide) -> None:
        self.file = file
        self.slide = slide

    @cached_property
    def thumbnail(self) -> NDArray[np.uint8]:
        """The whole scan, `(h, w, 3) uint8`, drawn once."""
        return render_thumbnail(self.slide)

    def require_unchanged(self) -> None:
        """Check that the bytes are still the identified ones.

        Raises:
            FileChanged: they aren't.
        """
        if self.file.fingerprint is not None:
            require_unchanged(self.file.path, self.file.fingerprint)


class OpenScans:
    """The scans used last, at most `limit` of them: an open one holds a file and up to 32 MB of decoded blocks."""

    def __init__(self, limit: int = 2) -> None:
        self._limit = limit
        self._scans: OrderedDict[ScanFile, OpenScan] = OrderedDict()

    @contextmanager
    def using(self, file: ScanFile) -> Iterator[OpenScan]:
        """The scan, opened where it isn't; an error in the block closes it, so that the next try is a fresh one.

        Raises:
            PellucidError: the scan can't be opened, or its bytes aren't the identified ones.
            FileUnhashable: the file system failed, on opening or in the block.
        """
        try:
            yield self._scan(file)
        except ConnectionError:  # the supervisor's end of the socket, never the file's
            raise
        except OSError as error:
            self._drop(file)
            raise FileUnhashable(f"The file can't be read any more: {error.strerror}.") from error
        except BaseException:
            self._drop(file)
            raise

    def close(self) -> None:
        """Close all of them."""
        for file in list(self._scans):
            self._drop(file)

    def _scan(self, file: ScanFile) -> OpenScan:
        if file not in self._scans:
            while len(self._scans) >= self._limit:
                self._drop(next(iter(self._scans)))
            scan = OpenScan(file, open_slide(file.path, mpp=file.mpp, mpp_detail=file.mpp_detail))
            self._scans[file] = scan
            scan.require_unchanged()
        self._scans.move_to_end(file)
        return self._scans[file]

    def _drop(self, file: ScanFile) -> None:
        scan = self._scans.pop(file, None)
        if scan is not None:
            scan.slide.close()
