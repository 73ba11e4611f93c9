"""What a model is worth on labelled specimens: certification of what it may decide, evaluation of what it says."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.evaluation.targets import CertificationTargets

if TYPE_CHECKING:
    from pellucid.evaluation.certifying import Certified, certify
    from pellucid.evaluation.evaluating import EvaluationRun, evaluate, report_of
    from pellucid.evaluation.specimens import AssessedSpecimen, Assessment, assess, one_a_patient

__all__ = [
    "AssessedSpecimen",
    "Assessment",
    "CertificationTargets",
    "Certified",
    "EvaluationRun",
    "assess",
    "certify",
    "evaluate",
    "one_a_patient",
    "report_of",
]

_HOMES = {
    "AssessedSpecimen": "specimens",
    "Assessment": "specimens",
    "Certified": "certifying",
    "EvaluationRun": "evaluating",
    "assess": "specimens",
    "certify": "certifying",
    "evaluate": "evaluating",
    "one_a_patient": "specimens",
    "report_of": "evaluating",
}


def __getattr__(name: str) -> Any:
    # the pipeline and scipy take a second: they are loaded with the first name that needs them
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
