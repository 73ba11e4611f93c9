"""Floor 1: pure functions on arrays. No files, no torch, no state."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.statistics.bootstrap import Interval, patient_bootstrap
    from pellucid.statistics.calibration import (
        TemperatureFit,
        calibration_in_the_large,
        calibration_intercept,
        calibration_slope,
        fit_temperature,
    )
    from pellucid.statistics.certification import (
        SideResult,
        certify_predictive_value,
        certify_up_to_prevalence,
        common_limit,
        result_at,
    )
    from pellucid.statistics.conformal import ConformalStream, online_p_values
    from pellucid.statistics.curves import PrCurve, ReliabilityBin, RocCurve, pr_curve, reliability_bins, roc_curve
    from pellucid.statistics.edetectors import EDetector, first_alarm, log_evidence
    from pellucid.statistics.exact import clopper_pearson, least_n, lower_bound, max_errors, upper_bound
    from pellucid.statistics.metrics import auroc, average_precision, balanced_accuracy, brier, ece, log_loss
    from pellucid.statistics.missed import MissedBound, certify_missed, missed_bound
    from pellucid.statistics.plan import SidePlan, plan_side
    from pellucid.statistics.posterior import combine_scans, logit_interval, summarise
    from pellucid.statistics.reference import Whitening, distance, distances, fit_reference, fit_whitening
    from pellucid.statistics.sample_size import shortfall
    from pellucid.statistics.selective import (
        RiskCoverage,
        augrc,
        aurc,
        e_aurc,
        failure_auroc,
        risk_coverage,
        selective_accuracy,
    )

__all__ = [
    "ConformalStream",
    "EDetector",
    "Interval",
    "MissedBound",
    "PrCurve",
    "ReliabilityBin",
    "RiskCoverage",
    "RocCurve",
    "SidePlan",
    "SideResult",
    "TemperatureFit",
    "Whitening",
    "augrc",
    "aurc",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "calibration_in_the_large",
    "calibration_intercept",
    "calibration_slope",
    "certify_missed",
    "certify_predictive_value",
    "certify_up_to_prevalence",
    "clopper_pearson",
    "combine_scans",
    "common_limit",
    "distance",
    "distances",
    "e_aurc",
    "ece",
    "failure_auroc",
    "first_alarm",
    "fit_reference",
    "fit_temperature",
    "fit_whitening",
    "least_n",
    "log_evidence",
    "log_loss",
    "logit_interval",
    "lower_bound",
    "max_errors",
    "missed_bound",
    "online_p_values",
    "patient_bootstrap",
    "plan_side",
    "pr_curve",
    "reliability_bins",
    "result_at",
    "risk_coverage",
    "roc_curve",
    "selective_accuracy",
    "shortfall",
    "summarise",
    "upper_bound",
]

_HOMES = {
    "ConformalStream": "conformal",
    "EDetector": "edetectors",
    "Interval": "bootstrap",
    "MissedBound": "missed",
    "PrCurve": "curves",
    "ReliabilityBin": "curves",
    "RiskCoverage": "selective",
    "RocCurve": "curves",
    "SidePlan": "plan",
    "SideResult": "certification",
    "TemperatureFit": "calibration",
    "Whitening": "reference",
    "augrc": "selective",
    "aurc": "selective",
    "auroc": "metrics",
    "average_precision": "metrics",
    "balanced_accuracy": "metrics",
    "brier": "metrics",
    "calibration_in_the_large": "calibration",
    "calibration_intercept": "calibration",
    "calibration_slope": "calibration",
    "certify_missed": "missed",
    "certify_predictive_value": "certification",
    "certify_up_to_prevalence": "certification",
    "clopper_pearson": "exact",
    "combine_scans": "posterior",
    "common_limit": "certification",
    "distance": "reference",
    "distances": "reference",
    "e_aurc": "selective",
    "ece": "metrics",
    "failure_auroc": "selective",
    "first_alarm": "edetectors",
    "fit_reference": "reference",
    "fit_temperature": "calibration",
    "fit_whitening": "reference",
    "least_n": "exact",
    "log_evidence": "edetectors",
    "log_loss": "metrics",
    "logit_interval": "posterior",
    "lower_bound": "exact",
    "max_errors": "exact",
    "missed_bound": "missed",
    "online_p_values": "conformal",
    "patient_bootstrap": "bootstrap",
    "plan_side": "plan",
    "pr_curve": "curves",
    "reliability_bins": "curves",
    "result_at": "certification",
    "risk_coverage": "selective",
    "roc_curve": "curves",
    "selective_accuracy": "selective",
    "shortfall": "sample_size",
    "summarise": "posterior",
    "upper_bound": "exact",
}


def __getattr__(name: str) -> Any:
    # scipy takes a third of a second: it is loaded with the first name that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
