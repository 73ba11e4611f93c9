"""The files of a training's scans, held to the bytes that were surveyed."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from pellucid.core.errors import PellucidError
from pellucid.engine.messages import ScanFile
from pellucid.slides.fingerprint import fingerprint
from pellucid.training.survey import SurveyedScan

_UNSEEN = "unseen"


class Files:
    """Each scan's file with the fingerprint that it had when the training began.

    A reader refuses a file that has another one. Of a file that is not there at the time nothing is known; it is
    refused too, and then hashed.
    """

    def __init__(self, scans: Iterable[SurveyedScan]) -> None:
        self._files = {scan.digest: _file(scan) for scan in scans}

    def of(self, scan: SurveyedScan) -> ScanFile:
        """A scan's file."""
        return self._files[scan.digest]

    def renew(self, scan: SurveyedScan, mark: str) -> None:
        """The bytes were hashed again and are the scan's; this is the fingerprint of the files that hold them."""
        self._files[scan.digest] = replace(self._files[scan.digest], fingerprint=mark)


def _file(scan: SurveyedScan) -> ScanFile:
    mark = _UNSEEN
    with contextlib.suppress(PellucidError, OSError):
        mark = fingerprint(scan.entry.path)
    return ScanFile(path=scan.entry.path, mpp=scan.entry.mpp, mpp_detail="cohort table", fingerprint=mark)
