"""What the report found as Prometheus metrics, for the alert rules on it."""

from typing import TYPE_CHECKING

from pellucid.monitoring.autonomy import Autonomy
from pellucid.monitoring.drift import Drift

if TYPE_CHECKING:
    from pellucid.core.telemetry.metrics import ScanMetrics

_ALL = "all"


def drift_evidence(drift: Drift) -> dict[str, float]:
    """The highest log evidence so far, by feature and for "all" together; an alarm that was raised stays raised."""
    return {one.feature: one.peak_log_evidence for one in drift.features} | {_ALL: drift.peak_log_evidence}


def publish_drift(drift: Drift, metrics: "ScanMetrics") -> None:
    """Set the drift gauges; the metrics must have been made for the reference's features."""
    metrics.set_drift(drift_evidence(drift), limit=drift.log_limit)


def publish_autonomy(autonomy: Autonomy, metrics: "ScanMetrics") -> None:
    """Set how many answers no certificate allows, where that was looked at."""
    if autonomy.check.looked:
        metrics.autonomy_without_certificate.set(autonomy.check.n_defects)
