"""Prometheus metrics of one process, in a registry of its own, every label combination present from the start.

A counter that first appears at 1 has `increase() == 0` in Prometheus, so its first event would never raise an alert;
therefore each combination of the closed label sets is created at zero. No label ever names a slide.
"""

import itertools
import math
import platform
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server

from pellucid.core.files import write_bytes
from pellucid.core.telemetry.engine_metrics import OTHER, EngineMetrics, Snapshot, engine_metrics
from pellucid.core.telemetry.registry import PlainRegistry

DURATION_BUCKETS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
"""Seconds."""
PROBABILITY_BUCKETS = tuple(round(0.05 * step, 2) for step in range(1, 21))
SD_LOGIT_BUCKETS = tuple(round(0.1 * step, 1) for step in range(1, 21))
TILE_STAGES = ("read", "unreadable", "encoded")
QUEUE_STATES = ("waiting", "backoff", "running", "quarantined")
"""A scan in `backoff` waits for a later attempt, one in `quarantined` for a person."""
QUEUE_CLASSES = ("routine", "stat")
_SHOWN_STATES = {"queued": "waiting", "leased": "running", "backoff": "backoff", "quarantined": "quarantined"}
COMBINED = "all"
"""The `feature` label of the drift evidence of all features together, the one that has the guarantee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricLabels:
    """The closed sets of label values.

    `stages` are the timed stages of a scan; `codes` the error codes (see `core.errors.known_errors`), to which "other"
    is added; `verdicts`, `dispositions` and `reasons` are the domain's; `features` are the monitored features, to which
    "all" is added.
    """

    stages: tuple[str, ...]
    verdicts: tuple[str, ...]
    dispositions: tuple[str, ...]
    reasons: tuple[str, ...]
    codes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    tile_stages: tuple[str, ...] = TILE_STAGES
    queue_states: tuple[str, ...] = QUEUE_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanMetrics:
    """The metrics of one process; write them with `write_textfile` or offer them with `serve`.

    The fields are the library's own objects, such as `metrics.slides_received.inc()`; the methods below are for what
    takes labels.
    """

    registry: CollectorRegistry
    labels: MetricLabels
    slides_received: Counter
    slides_completed: Counter
    slides_failed: Counter
    slide_duration: Histogram
    tiles: Counter
    triage_decisions: Counter
    escalations: Counter
    queue_depth: Gauge
    queue_oldest_age: Gauge
    probability: Histogram
    sd_logit: Histogram
    model_info: Gauge
    build_info: Gauge
    last_progress: Gauge
    audit_last_verified: Gauge
    audit_verify_failures: Counter
    certificate_expiry: Gauge
    autonomy_without_certificate: Gauge
    drift_log_evidence: Gauge
    drift_log_evidence_limit: Gauge
    engine: EngineMetrics

    def slide_completed(self, timings: Mapping[str, float]) -> None:
        """Count a scan that gave an answer, and its seconds by stage."""
        self.slides_completed.inc()
        for stage, seconds in timings.items():
            self.slide_duration.labels(_known("stage", stage, self.labels.stages)).observe(seconds)
        self.last_progress.set_to_current_time()

    def slide_failed(self, code: str) -> None:
        """Count a scan that ended in an error; a code not known at the start counts as "other"."""
        self.slides_failed.labels(code if code in self.labels.codes else OTHER).inc()
        self.last_progress.set_to_current_time()

    def count_tiles(self, stage: str, number: int) -> None:
        """Count tiles that were read, could not be read, or were encoded."""
        self.tiles.labels(_known("tile stage", stage, self.labels.tile_stages)).inc(number)

    def decided(self, verdict: str, disposition: str, reasons: Iterable[str]) -> None:
        """Count a specimen's decision and each reason that applies to it."""
        self.triage_decisions.labels(
            _known("verdict", verdict, self.labels.verdicts),
            _known("disposition", disposition, self.labels.dispositions),
        ).inc()
        for reason in reasons:
            self.escalations.labels(_known("reason", reason, self.labels.reasons)).inc()

    def answered(self, probability: float, sd_logit: float) -> None:
        """Add a scan's probability and the standard deviation of its calibrated logit to the histograms."""
        self.probability.observe(probability)
        self.sd_logit.observe(sd_logit)

    def set_queue(self, depth: Mapping[str, int], *, oldest_age_s: float = 0.0, oldest_stat_age_s: float = 0.0) -> None:
        """Set how many scans wait and run, and since when a routine and a STAT one wait; left-out states are empty."""
        for state in depth:
            _known("queue state", state, self.labels.queue_states)
        for state in self.labels.queue_states:
            self.queue_depth.labels(state).set(depth.get(state, 0))
        self.queue_oldest_age.labels("routine").set(oldest_age_s)
        self.queue_oldest_age.labels("stat").set(oldest_stat_age_s)

    def show(self, snapshot: Snapshot) -> None:
        """Set the engine's metrics and the queue's to an engine's snapshot."""
        self.engine.show(snapshot)
        self.set_queue(
            {_SHOWN_STATES[state]: number for state, number in snapshot.queue.items() if state in _SHOWN_STATES},
            oldest_age_s=snapshot.oldest_waiting_s,
            oldest_stat_age_s=snapshot.oldest_stat_s,
        )

    def set_model(self, *, model: str, bundle: str, name: str, synthetic: bool) -> None:
        """State the model in use: its digest, the bundle's digest and name; one model at a time."""
        self.model_info.clear()
        self.model_info.labels(model, bundle, name, "true" if synthetic else "false").set(1)

    def set_drift(self, evidence: Mapping[str, float], *, limit: float) -> None:
        """Set the log evidence of drift by feature ("all" for the combination), and the log limit of the alarm."""
        for feature, value in evidence.items():
            self.drift_log_evidence.labels(_known("feature", feature, (*self.labels.features, COMBINED))).set(value)
        self.drift_log_evidence_limit.set(limit)

    def set_certificates(self, *, held: bool, expires_on: str | None) -> None:
        """State until when the policy's certificates hold: the end of their last day (YYYY-MM-DD, UTC).

        Without certificates that is 0, and with some that never expire infinity.
        """
        if not held:
            self.certificate_expiry.set(0)
        elif expires_on is None:
            self.certificate_expiry.set(math.inf)
        else:
            last_day = datetime.fromisoformat(expires_on).replace(tzinfo=UTC)
            self.certificate_expiry.set((last_day + timedelta(days=1)).timestamp())

    def audit_verified(self, *, ok: bool) -> None:
        """Record one verification of the audit trail."""
        if ok:
            self.audit_last_verified.set_to_current_time()
        else:
            self.audit_verify_failures.inc()


def scan_metrics(labels: MetricLabels, *, software_version: str) -> ScanMetrics:
    """The metrics of this process at zero, in a new registry.

    `pellucid_last_progress_timestamp_seconds` starts at the time of this call, for a process that has just started has
    not stalled; `pellucid_audit_last_verified_timestamp_seconds` starts at 0, which means never.
    """
    registry = PlainRegistry(auto_describe=True)
    made = ScanMetrics(registry=registry, labels=labels, engine=engine_metrics(registry), **_families(registry))
    _create_at_zero(made)
    made.build_info.labels(software_version, platform.python_version()).set(1)
    made.last_progress.set(time.time())
    return made


def _families(registry: CollectorRegistry) -> dict[str, Any]:
    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"pellucid_{name}_total", text, labels, registry=registry)

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pellucid_{name}", text, labels, registry=registry)

    def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"pellucid_{name}", text, labels, buckets=buckets, registry=registry)

    return {
        "slides_received": counter("slides_received", "Scans taken in."),
        "slides_completed": counter("slides_completed", "Scans that gave an answer."),
        "slides_failed": counter("slides_failed", "Scans that ended in an error, by its code.", "code"),
        "slide_duration": histogram("slide_duration_seconds", "Seconds a scan by stage.", DURATION_BUCKETS, "stage"),
        "tiles": counter("tiles", "Tiles by what happened to them.", "stage"),
        "triage_decisions": counter("triage_decisions", "Decisions about specimens.", "verdict", "disposition"),
        "escalations": counter("escalations", "Reasons of escalated specimens; one may have several.", "reason"),
        "queue_depth": gauge("queue_depth", "Scans not finished yet.", "state"),
        "queue_oldest_age": gauge("queue_oldest_age_seconds", "Age of the scan that waits longest.", "class"),
        "probability": histogram("probability", "Probability a scan.", PROBABILITY_BUCKETS),
        "sd_logit": histogram("sd_logit", "Standard deviation of the calibrated logit a scan.", SD_LOGIT_BUCKETS),
        "model_info": gauge("model_info", "The model in use.", "model", "bundle", "name", "synthetic"),
        "build_info": gauge("build_info", "The software.", "version", "python"),
        "last_progress": gauge("last_progress_timestamp_seconds", "When a scan last ended, or this process started."),
        "audit_last_verified": gauge(
            "audit_last_verified_timestamp_seconds", "When the audit trail last held; 0: never."
        ),
        "certificate_expiry": gauge(
            "certificate_expiry_timestamp_seconds", "Until when the policy's certificates hold; 0: it has none."
        ),
        "autonomy_without_certificate": gauge(
            "autonomy_without_certificate", "Recorded answers that no certificate allows; above 0: a defect."
        ),
        "audit_verify_failures": counter("audit_verify_failures", "Verifications that found the audit trail broken."),
        "drift_log_evidence": gauge(
            "drift_log_evidence",
            "Highest log Shiryaev-Roberts evidence of drift since the reference was set (0: none); all: combined.",
            "feature",
        ),
        "drift_log_evidence_limit": gauge(
            "drift_log_evidence_limit", "Log evidence that is an alarm; 0: not monitored."
        ),
    }


def _create_at_zero(metrics: ScanMetrics) -> None:
    labels = metrics.labels
    closed: tuple[tuple[Counter | Gauge | Histogram, tuple[tuple[str, ...], ...]], ...] = (
        (metrics.slides_failed, ((*labels.codes, OTHER),)),
        (metrics.slide_duration, (labels.stages,)),
        (metrics.tiles, (labels.tile_stages,)),
        (metrics.triage_decisions, (labels.verdicts, labels.dispositions)),
        (metrics.escalations, (labels.reasons,)),
        (metrics.queue_depth, (labels.queue_states,)),
        (metrics.queue_oldest_age, (QUEUE_CLASSES,)),
        (metrics.drift_log_evidence, ((*labels.features, COMBINED),)),
    )
    for family, values in closed:
        for combination in itertools.product(*values):
            family.labels(*combination)


def _known(label: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is no {label} that the metrics were made for; they are {', '.join(allowed)}.")
    return value


def write_textfile(metrics: ScanMetrics, path: Path) -> None:
    """Write all metrics for node-exporter's textfile collector, whole or not at all; `path` ends in `.prom`.

    A batch run writes once at its start too: Prometheus must have seen the zeros for a first failure to count.

    Raises:
        StorageFull: the disk is full; the former file is left.
    """
    write_bytes(path, generate_latest(metrics.registry))


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """The endpoint that Prometheus scrapes, on a thread of its own; closes as a context manager."""

    _server: WSGIServer
    _thread: threading.Thread

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(metrics: ScanMetrics, port: int, *, address: str = "127.0.0.1") -> MetricsServer:
    """Offer the metrics over HTTP, to this machine only unless another address is given; port 0 takes a free one.

    Raises:
        OSError: the port is taken or not allowed.
    """
    server, thread = start_http_server(port, address, metrics.registry)
    return MetricsServer(server, thread)
