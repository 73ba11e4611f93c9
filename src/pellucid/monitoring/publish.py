"""The report's drift evidence as Prometheus metrics, for the alert rule on it."""

from typing import TYPE_CHECKING

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
