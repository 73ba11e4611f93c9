"""The metrics of one training: how far it is, what a kill would cost, and whether it makes steps at all.

They are set from the training's status; every series is there from the start, for a rule that sees its first value only
at the first failure would be silent about that failure. `run` is the name of the run's folder, so that the text files
of two trainings on one machine don't contradict each other.
"""

# ruff: noqa: D102 - the fields of the protocol are described where they are made, in training.journal.status

from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pellucid.core.telemetry.registry import PlainRegistry


class Status(Protocol):
    """What metrics need of `training.journal.status.TrainingStatus`, on a higher floor; with its units."""

    @property
    def step(self) -> int: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def steps_per_s(self) -> float: ...
    @property
    def at(self) -> float: ...
    @property
    def last_sign_at(self) -> float: ...
    @property
    def stall_limit_s(self) -> float: ...
    @property
    def durable_at(self) -> float: ...
    @property
    def interval_s(self) -> float: ...
    @property
    def save_s(self) -> float: ...
    @property
    def checkpoint_failures(self) -> int: ...
    @property
    def checkpoints_rejected(self) -> int: ...
    @property
    def slides_failed(self) -> int: ...
    @property
    def waiting_share(self) -> float: ...
    @property
    def is_stalled(self) -> bool: ...
    @property
    def is_running(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """The families of one training, in a registry of their own, all at zero until the first `show`."""

    run: str
    registry: CollectorRegistry
    gauges: dict[str, Gauge]
    counters: dict[str, Counter]
    _shown: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def show(self, status: Status) -> None:
        """Set everything to a status; its counters run from the start of this process."""
        values = {
            "step": status.step,
            "steps": status.n_steps,
            "epoch": status.epoch,
            "loss": float("nan") if status.loss is None else status.loss,
            "steps_per_second": status.steps_per_s,
            "heartbeat_timestamp_seconds": status.at,
            "last_step_timestamp_seconds": status.last_sign_at,
            "stall_limit_seconds": status.stall_limit_s,
            "checkpoint_last_verified_timestamp_seconds": status.durable_at,
            "checkpoint_interval_seconds": status.interval_s,
            "checkpoint_seconds": status.save_s,
            "waiting_share": status.waiting_share,
            "stalled": status.is_stalled,
            "running": status.is_running,
        }
        for name, value in values.items():
            self.gauges[name].labels(self.run).set(value)
        totals = {
            "checkpoint_failures": status.checkpoint_failures,
            "checkpoint_rejected": status.checkpoints_rejected,
            "slides_failed": status.slides_failed,
        }
        for name, total in totals.items():
            self.counters[name].labels(self.run).inc(total - self._shown.get(name, 0))
            self._shown[name] = total

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)


_GAUGES = {
    "step": "Steps done of the task in hand.",
    "steps": "Steps of the task in hand, in all.",
    "epoch": "Epoch of the task in hand, from 0.",
    "loss": "Loss of the last step.",
    "steps_per_second": "Steps a second, from the median of the last ones.",
    "heartbeat_timestamp_seconds": "When the training's watch last told of itself; 0: never.",
    "last_step_timestamp_seconds": "When a step, validation, save or part of a stage last ended, or it started.",
    "stall_limit_seconds": "How long this training may be without a step before it counts as stalled.",
    "checkpoint_last_verified_timestamp_seconds": "When a checkpoint was last written or loaded, or the task began.",
    "checkpoint_interval_seconds": "Time between checkpoints that this training aims at.",
    "checkpoint_seconds": "What the last checkpoint cost.",
    "waiting_share": "Share of the last steps' time in which they waited for tiles, 0 to 1.",
    "stalled": "1 while no step ends for longer than the limit.",
    "running": "1 until the training says that it ended; a killed one doesn't.",
}
_COUNTERS = {
    "checkpoint_failures": "Checkpoints that could not be saved.",
    "checkpoint_rejected": "Checkpoints that did not hold what they should and were passed over.",
    "slides_failed": "Slides that failed in mid-epoch and were replaced by others.",
}


def training_metrics(run: str) -> TrainingMetrics:
    """The families at zero, in a new registry; `run` is the name of the run's folder."""
    registry = PlainRegistry(auto_describe=True)
    made = TrainingMetrics(
        run=run,
        registry=registry,
        gauges={
            name: Gauge(f"pellucid_training_{name}", text, ("run",), registry=registry)
            for name, text in _GAUGES.items()
        },
        counters={
            name: Counter(f"pellucid_training_{name}_total", text, ("run",), registry=registry)
            for name, text in _COUNTERS.items()
        },
    )
    for family in (*made.gauges.values(), *made.counters.values()):
        family.labels(run)
    return made
