"""Nested cross-validation of a head's training, by patient. Torch is imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.training.validation.config import Grid, Validation
from pellucid.training.validation.errors import FoldsImpossible, PatientLeaks, SplitForbidden, StratumUnknown

if TYPE_CHECKING:
    from pellucid.training.validation.candidates import Candidate
    from pellucid.training.validation.estimate import CrossValidation, choose_setting, cross_validate
    from pellucid.training.validation.figures import PatientScores, scores_by_patient
    from pellucid.training.validation.report import write_report

__all__ = [
    "Candidate",
    "CrossValidation",
    "FoldsImpossible",
    "Grid",
    "PatientLeaks",
    "PatientScores",
    "SplitForbidden",
    "StratumUnknown",
    "Validation",
    "choose_setting",
    "cross_validate",
    "scores_by_patient",
    "write_report",
]

_HOMES = {
    "Candidate": "candidates",
    "CrossValidation": "estimate",
    "choose_setting": "estimate",
    "cross_validate": "estimate",
    "PatientScores": "figures",
    "scores_by_patient": "figures",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
