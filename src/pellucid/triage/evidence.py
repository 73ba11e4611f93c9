"""All that a decision depends on; stored with it, so that anyone can derive it again."""

from dataclasses import dataclass

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a scan gave no answer: the error's code and sentence, and the reason that it amounts to."""

    code: str
    message: str
    reason: Reason = Reason.PROCESSING_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanEvidence:
    """What one scan contributes.

    `logits` are the raw logits of the passes, None where the scan failed. `distance` is to the model's reference.
    `synthetic` says whether Pellucid generated the scan; None where the file could not be opened. `tumour_share` is the
    share of its tiles that the bundle's tumour head calls tumour, None without such a head. `scanner` is None where the
    file doesn't say.
    """

    scan: str
    logits: tuple[float, ...] | None
    quality: Quality | None
    distance: float | None
    synthetic: bool | None
    failure: Failure | None
    tumour_share: float | None = None
    scanner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LateScans:
    """Scans that arrived only after a version of the decision had been made without them."""

    version: int
    scans: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecimenEvidence:
    """All scans of a specimen; `conflicts` says in words which of its scans are also filed elsewhere.

    `expected` counts the scans that belong to the specimen, arrived or not; `late` are those among `scans` that the
    latest incomplete decision had to do without. `on` is the day of the decision (UTC, YYYY-MM-DD), which certificates
    that expire are held against.
    """

    specimen: str
    scans: tuple[ScanEvidence, ...]
    expected: int
    strata: dict[str, str]
    conflicts: tuple[str, ...] = ()
    late: LateScans | None = None
    on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """The model bundle's part in a decision: calibration and the limits fitted on its tuning split.

    `sd_limit` bounds the sd of the calibrated logit, `distance_limit` the distance of the slide embedding to the
    training slides, `level` the central share of passes in the interval. `tumour_limit` is the least share of tumour
    tiles of a scan, None where the bundle has no tumour head: the diagnosis must then be confirmed in the cases table.
    `tumour_head` is the digest of that head, so that another one with the same limit is another gate.
    `n_passes` is their number, and `quality` the digest of the limits of scan quality; None in older records.
    """

    temperature: float
    level: float
    sd_limit: float
    distance_limit: float
    synthetic_model: bool
    tumour_limit: float | None = None
    tumour_head: str | None = None
    n_passes: int | None = None
    quality: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of every field; certificates name the gates that they were made with."""
        return digest_json(to_plain(self))
