"""Why a specimen isn't decided alone: a closed set."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason for an escalation; the first line of each description is what a page shows."""

    UNCERTAIN = "uncertain"
    NEAR_THRESHOLD = "near_threshold"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    OUT_OF_SCOPE = "out_of_scope"
    NO_TUMOUR = "no_tumour"
    TOO_LITTLE_TISSUE = "too_little_tissue"
    POOR_FOCUS = "poor_focus"
    ARTEFACT = "artefact"
    UNREADABLE_TILES = "unreadable_tiles"
    SLIDES_DISAGREE = "slides_disagree"
    CASE_INCOMPLETE = "case_incomplete"
    STRATUM_UNKNOWN = "stratum_unknown"
    IDENTITY_CONFLICT = "identity_conflict"
    NO_CERTIFICATE = "no_certificate"
    MONITORING_HOLD = "monitoring_hold"
    PROCESSING_FAILED = "processing_failed"

    @property
    def sentence(self) -> str:
        """What the reason means, for a pathologist."""
        return _SENTENCES[self]


_SENTENCES: dict[Reason, str] = {
    Reason.UNCERTAIN: "The passes disagree too much, or the answer is not wholly beyond a certified threshold.",
    Reason.NEAR_THRESHOLD: "The answer lies so near a threshold that chance could move it across.",
    Reason.OUT_OF_DISTRIBUTION: "The slide looks unlike the slides the model was built on.",
    Reason.OUT_OF_SCOPE: "The model is not made for such a slide: another stain, or real tissue in a synthetic model.",
    Reason.NO_TUMOUR: "No tumour was found or confirmed, and a mutation is a statement about tumour.",
    Reason.TOO_LITTLE_TISSUE: "There is too little tissue to answer from.",
    Reason.POOR_FOCUS: "Too much of the tissue is out of focus.",
    Reason.ARTEFACT: "Pen or another artefact covers too much of the tissue.",
    Reason.UNREADABLE_TILES: "Parts of the file can't be decoded.",
    Reason.SLIDES_DISAGREE: "The scans of this specimen contradict each other.",
    Reason.CASE_INCOMPLETE: "Not all expected scans of this specimen arrived in time.",
    Reason.STRATUM_UNKNOWN: "Site, specimen type or scanner is not stated, so no certificate can apply.",
    Reason.IDENTITY_CONFLICT: "The same scan, or a contradicting name, is filed under more than one case.",
    Reason.NO_CERTIFICATE: "No valid certificate covers this kind of specimen at this site.",
    Reason.MONITORING_HOLD: "Monitoring has withdrawn autonomy.",
    Reason.PROCESSING_FAILED: "The scan could not be processed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason as found: what was measured against which limit, on which scan.

    `scan` is the scan digest, or None where the finding is about the whole specimen.
    """

    reason: Reason
    detail: str
    value: float | None = None
    limit: float | None = None
    scan: str | None = None
    code: str | None = None
