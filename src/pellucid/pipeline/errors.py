"""Ways in which a run or a scan in it fails."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Reason
from pellucid.domain.scan import ScanInfo


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What was seen of a scan before it turned out to give no answer; pictures are RGB arrays."""

    info: ScanInfo
    quality: Quality
    features: dict[str, float]
    pictures: dict[str, NDArray[np.uint8]]
    n_tiles: int = 0
    n_unreadable: int = 0


class ScanUnanswerable(PellucidError):
    """A scan that could be opened and looked at, but gives no answer; every gate that fails is listed."""

    seen: Seen
    reason: Reason

    def having(self, seen: Seen) -> Self:
        """This error, holding what was seen."""
        self.seen = seen
        return self


class NoTissue(ScanUnanswerable):
    """No tile of the scan holds enough tissue."""

    code = "PEL-RUN-001"
    reason = Reason.TOO_LITTLE_TISSUE
    remedy = "Look at the overlay of `pellucid slide tiles`; re-scan, or take another section of the block."


class NothingReadable(ScanUnanswerable):
    """No tile of the scan could be decoded."""

    code = "PEL-RUN-002"
    reason = Reason.UNREADABLE_TILES
    remedy = "Copy the file again from its source, or re-scan the glass slide."


class IdentityConflict(PellucidError):
    """The same bytes are filed under more than one case."""

    code = "PEL-RUN-003"
    remedy = (
        "Find out whose scan it is, name the right file in the other specimen's row and run again; until then both "
        "are held. Where that row must go altogether, run into a new folder."
    )


class NothingToRun(PellucidError):
    """The inputs hold no scan."""

    code = "PEL-RUN-004"
    remedy = "Name a cases table (CSV or Parquet) or slide files; `pellucid init DIR` writes an example."


class UnexpectedFailure(PellucidError):
    """A fault in Pellucid, met on one scan; the run went on."""

    code = "PEL-RUN-005"
    remedy = "The traceback is in the run's log. Please report it; `pellucid run --retry-failed` tries again."


class OutputUnusable(PellucidError):
    """The output folder can't be written to."""

    code = "PEL-RUN-006"
    remedy = "Choose another folder with --out, or correct its permissions."


class SpecimenUnknown(PellucidError):
    """No specimen of that name has a decision here."""

    code = "PEL-RUN-007"
    remedy = "Use a pseudonym from the index page or results table, or the specimen's name in the cases table."


class DecisionDiffers(PellucidError):
    """What is stored as the decision doesn't follow from what is stored as its evidence."""

    code = "PEL-RUN-008"
    remedy = "Run `pellucid audit verify`: either a record was altered or another software version decided."


class FileUnhashable(PellucidError):
    """The system failed while reading the bytes of a file: a bad disk, a share that went away, an impossible path."""

    code = "PEL-RUN-010"
    remedy = "Check the disk or share that holds the file, then start the same command again: it is looked at anew."


class PortUnusable(PellucidError):
    """The metrics can't be offered on the port that the settings name."""

    code = "PEL-RUN-011"
    remedy = "Name a free port above 1023 as `metrics_port`, or leave it out; `metrics.prom` is written either way."


class AuditBroken(PellucidError):
    """The audit trail, or a record that it seals, is not as it was written."""

    code = "PEL-RUN-009"
    remedy = "Don't rely on these results. `pellucid audit verify` names the first broken event; restore a backup."


class TaskSuperseded(PellucidError):
    """A scan that waited from an earlier run, which no specimen waits for any more."""

    code = "PEL-RUN-012"
    remedy = "Nothing is to be done; name the scan in the cases table again if it is wanted."
