"""Floor 2: cohorts. Tables of scans, splits by patient, and the synthetic cohort. No torch."""

from typing import TYPE_CHECKING, Any

from pellucid.cohort.errors import (
    CohortInvalid,
    FolderOccupied,
    Problem,
    SplitInvalid,
    SynthesisInterrupted,
    SynthesisInvalid,
    TruthMissing,
)
from pellucid.cohort.reading import read_cohort
from pellucid.cohort.synthetic.kinds import ScanKind, SynthesisConfig
from pellucid.cohort.writing import write_cohort, write_template

if TYPE_CHECKING:
    from pellucid.cohort.splits import split_by_patient
    from pellucid.cohort.synthetic.large import write_large_slide
    from pellucid.cohort.synthetic.synthesise import synthesise
    from pellucid.cohort.synthetic.truth import ScanTruth, read_truth, truth_mask

_LAZY = {
    "ScanTruth": "pellucid.cohort.synthetic.truth",
    "read_truth": "pellucid.cohort.synthetic.truth",
    "split_by_patient": "pellucid.cohort.splits",
    "synthesise": "pellucid.cohort.synthetic.synthesise",
    "truth_mask": "pellucid.cohort.synthetic.truth",
    "write_large_slide": "pellucid.cohort.synthetic.large",
}

__all__ = [
    "CohortInvalid",
    "FolderOccupied",
    "Problem",
    "ScanKind",
    "ScanTruth",
    "SplitInvalid",
    "SynthesisConfig",
    "SynthesisInterrupted",
    "SynthesisInvalid",
    "TruthMissing",
    "read_cohort",
    "read_truth",
    "split_by_patient",
    "synthesise",
    "truth_mask",
    "write_cohort",
    "write_large_slide",
    "write_template",
]


def __getattr__(name: str) -> Any:
    # Drawing needs OpenCV, SciPy and NumPy; reading a table doesn't.
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
