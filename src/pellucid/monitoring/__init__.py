"""Monitoring from observation rows: what is seen, how sure, whether it drifts, what is escalated or answered."""

from pellucid.monitoring.autonomy import AnswerGroup, AnswerRates, Autonomy, CertificateCheck, policies_of
from pellucid.monitoring.confidence import Confidence, ConfidenceWindow
from pellucid.monitoring.drift import Drift, DriftState, EvidencePoint, FeatureDrift, FeatureGroup
from pellucid.monitoring.escalation import Escalation, GroupRates, LimitMissed, ReasonRate
from pellucid.monitoring.publish import drift_evidence, publish_autonomy, publish_drift
from pellucid.monitoring.rates import Count, Rate, Spread
from pellucid.monitoring.report import MonitoringReport, monitor
from pellucid.monitoring.seen import Seen
from pellucid.monitoring.text import render, render_text, sparkline

__all__ = [
    "AnswerGroup",
    "AnswerRates",
    "Autonomy",
    "CertificateCheck",
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
    "policies_of",
    "publish_autonomy",
    "publish_drift",
    "render",
    "render_text",
    "sparkline",
]
