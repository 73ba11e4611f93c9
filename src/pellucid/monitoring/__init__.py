"""Monitoring: what the model sees, how sure it is, whether it drifts, and what is escalated, from observation rows."""

from pellucid.monitoring.confidence import Confidence, ConfidenceWindow
from pellucid.monitoring.drift import Drift, DriftState, EvidencePoint, FeatureDrift, FeatureGroup
from pellucid.monitoring.escalation import Escalation, GroupRates, LimitMissed, ReasonRate
from pellucid.monitoring.publish import drift_evidence, publish_drift
from pellucid.monitoring.rates import Count, Rate, Spread
from pellucid.monitoring.report import MonitoringReport, monitor
from pellucid.monitoring.seen import Seen
from pellucid.monitoring.text import render, render_text, sparkline

__all__ = [
    "Confidence",
    "ConfidenceWindow",
    "Count",
    "Drift",
    "DriftState",
    "Escalation",
    "EvidencePoint",
    "FeatureDrift",
    "FeatureGroup",
    "GroupRates",
    "LimitMissed",
    "MonitoringReport",
    "Rate",
    "ReasonRate",
    "Seen",
    "Spread",
    "drift_evidence",
    "monitor",
    "publish_drift",
    "render",
    "render_text",
    "sparkline",
]
