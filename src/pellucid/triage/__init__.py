"""From a specimen's evidence, a site's policy and the model's gates to a decision with all its reasons."""

from pellucid.triage.decide import decide
from pellucid.triage.evidence import Failure, Gates, LateScans, ScanEvidence, SpecimenEvidence

__all__ = ["Failure", "Gates", "LateScans", "ScanEvidence", "SpecimenEvidence", "decide"]
