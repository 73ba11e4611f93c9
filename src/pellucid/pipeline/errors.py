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
    """The same bytes are filed under more than one specimen."""

    code = "PEL-RUN-003"
    remedy = "Find out whose scan it is, correct the cases table and run again; until then both are held."


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


class AuditBroken(PellucidError):
    """The audit trail, or a record that it seals, is not as it was written."""

    code = "PEL-RUN-009"
    remedy = "Don't rely on these results. `pellucid audit verify` names the first broken event; restore a backup."
