"""From a specimen's evidence, a site's policy and the model's gates to a decision with all its reasons."""

from pellucid.triage.autonomy import SCANNER, Scores, certificate_for, scores_of, values_of
from pellucid.triage.decide import decide
from pellucid.triage.evidence import Failure, Gates, LateScans, ScanEvidence, SpecimenEvidence
from pellucid.triage.gates import gate_findings, scan_findings, specimen_posterior

__all__ = [
    "SCANNER",
    "Failure",
    "Gates",
    "LateScans",
    "ScanEvidence",
    "Scores",
    "SpecimenEvidence",
    "certificate_for",
    "decide",
    "gate_findings",
    "scan_findings",
    "scores_of",
    "specimen_posterior",
    "values_of",
]
