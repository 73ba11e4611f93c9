"""Floor 1: pure functions on arrays. No files, no torch, no state."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.statistics.bootstrap import Interval, patient_bootstrap
    from pellucid.statistics.calibration import TemperatureFit, fit_temperature
    from pellucid.statistics.conformal import ConformalStream, online_p_values
    from pellucid.statistics.edetectors import EDetector, first_alarm, log_evidence
    from pellucid.statistics.metrics import auroc, average_precision, balanced_accuracy, brier, ece, log_loss
    from pellucid.statistics.posterior import combine_scans, summarise
    from pellucid.statistics.reference import Whitening, distance, distances, fit_reference, fit_whitening

__all__ = [
    "ConformalStream",
    "EDetector",
    "Interval",
    "TemperatureFit",
    "Whitening",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "combine_scans",
    "distance",
    "distances",
    "ece",
    "first_alarm",
    "fit_reference",
    "fit_temperature",
    "fit_whitening",
    "log_evidence",
    "log_loss",
    "online_p_values",
    "patient_bootstrap",
    "summarise",
]

_HOMES = {
    "ConformalStream": "conformal",
    "EDetector": "edetectors",
    "Interval": "bootstrap",
    "TemperatureFit": "calibration",
    "Whitening": "reference",
    "auroc": "metrics",
    "average_precision": "metrics",
    "balanced_accuracy": "metrics",
    "brier": "metrics",
    "combine_scans": "posterior",
    "distance": "reference",
    "distances": "reference",
    "ece": "metrics",
    "first_alarm": "edetectors",
    "fit_reference": "reference",
    "fit_temperature": "calibration",
    "fit_whitening": "reference",
    "log_evidence": "edetectors",
    "log_loss": "metrics",
    "online_p_values": "conformal",
    "patient_bootstrap": "bootstrap",
    "summarise": "posterior",
}


def __getattr__(name: str) -> Any:
    # scipy takes a third of a second: it is loaded with the first name that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
