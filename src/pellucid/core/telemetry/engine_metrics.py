"""The metrics of a running engine: how busy the device is, what it waits for, what its processes cost.

They are set from the engine's snapshots, whose counters run from its start; a label outside its closed set counts as
"other", for a metric must never end a run.
"""

# ruff: noqa: D102 - the fields of the protocols are described where they are made, in engine.snapshot

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

OTHER = "other"
"""The label of what is not in a closed set."""
ENGINE_STATES = ("starting", "running", "paused", "draining", "ended")
WAITS = ("scans", "tiles", "slots", "posterior", "database", "device", "pause", OTHER)
SLOT_STATES = ("free", "filling", "ready", "at_device")
ROLES = ("supervisor", "reader", "device", "posterior")
CHILD_ROLES = ROLES[1:]
RESTART_CAUSES = (
    "SIGSEGV",
    "SIGBUS",
    "SIGABRT",
    "SIGFPE",
    "SIGILL",
    "SIGKILL",
    "other_signal",
    "out_of_memory",
    "stalled",
    "recycled",
    "unkillable",
    "exit",
    OTHER,
)
READER_KINDS = ("running", "target")


class _Scan(Protocol):
    @property
    def durable_s(self) -> float: ...


class _Process(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def rss_bytes(self) -> int: ...
    @property
    def n_files(self) -> int: ...


class _Restarts(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def count(self) -> int: ...


class Snapshot(Protocol):
    """What metrics need of `engine.snapshot.EngineSnapshot`, which is on a higher floor; its units are the same."""

    @property
    def at(self) -> float: ...
    @property
    def state(self) -> str: ...
    @property
    def paused_because(self) -> str | None: ...
    @property
    def device_busy_share(self) -> float: ...
    @property
    def waited_for(self) -> Mapping[Any, float]: ...
    @property
    def slots(self) -> object: ...
    @property
    def tiles_per_s(self) -> float: ...
    @property
    def slides_per_h(self) -> float: ...
    @property
    def readers(self) -> int: ...
    @property
    def readers_target(self) -> int: ...
    @property
    def restarts(self) -> Sequence[_Restarts]: ...
    @property
    def queue(self) -> Mapping[str, int]: ...
    @property
    def oldest_waiting_s(self) -> float: ...
    @property
    def oldest_stat_s(self) -> float: ...
    @property
    def scans(self) -> Sequence[_Scan]: ...
    @property
    def processes(self) -> Sequence[_Process]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMetrics:
    """The families of one engine, every label combination present from the start."""

    state: Gauge
    paused: Gauge
    heartbeat: Gauge
    device_busy: Gauge
    device_waited: Counter
    slots: Gauge
    tiles_per_second: Gauge
    slides_per_hour: Gauge
    readers: Gauge
    restarts: Counter
    resident: Gauge
    open_files: Gauge
    scans_in_hand: Gauge
    checkpoint_age: Gauge
    _shown: dict[tuple[str, ...], float] = field(default_factory=dict, init=False, repr=False)

    def show(self, snapshot: Snapshot) -> None:
        """Set everything to a snapshot; its counters are added by what they grew since the last one."""
        for state in ENGINE_STATES:
            self.state.labels(state).set(state == snapshot.state)
        self.paused.set(snapshot.paused_because is not None)
        self.heartbeat.set(snapshot.at)
        self.device_busy.set(snapshot.device_busy_share)
        self.tiles_per_second.set(snapshot.tiles_per_s)
        self.slides_per_hour.set(snapshot.slides_per_h)
        self.readers.labels("running").set(snapshot.readers)
        self.readers.labels("target").set(snapshot.readers_target)
        for name in SLOT_STATES:
            self.slots.labels(name).set(getattr(snapshot.slots, name))
        self.scans_in_hand.set(len(snapshot.scans))
        self.checkpoint_age.set(max((scan.durable_s for scan in snapshot.scans), default=0.0))
        self._show_processes(snapshot.processes)
        self._show_counters(snapshot)

    def _show_processes(self, processes: Sequence[_Process]) -> None:
        for role in ROLES:
            own = [process for process in processes if process.role == role]
            self.resident.labels(role).set(sum(process.rss_bytes for process in own))
            self.open_files.labels(role).set(sum(process.n_files for process in own))

    def _show_counters(self, snapshot: Snapshot) -> None:
        totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for what, seconds in snapshot.waited_for.items():
            totals[(str(what) if what in WAITS else OTHER,)] += seconds
        for one in snapshot.restarts:
            if one.role in CHILD_ROLES:
                totals[(one.role, str(one.cause) if one.cause in RESTART_CAUSES else OTHER)] += one.count
        for key, total in totals.items():
            before = self._shown.get(key, 0.0)
            # A total that fell is a new engine's: all of it is new, as Prometheus itself reads a reset.
            grown = total - before if total >= before else total
            (self.device_waited if len(key) == 1 else self.restarts).labels(*key).inc(grown)
            self._shown[key] = total


def engine_metrics(registry: CollectorRegistry) -> EngineMetrics:
    """The families at zero, in a registry."""

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"pellucid_{name}", text, labels, registry=registry)

    made = EngineMetrics(
        state=gauge("engine_state", "1 for the state that the engine is in.", "state"),
        paused=gauge("paused", "1 while the engine claims nothing: somebody paused it, or the disk is full."),
        heartbeat=gauge("engine_heartbeat_timestamp_seconds", "When the engine last told of itself; 0: never."),
        device_busy=gauge("device_busy_share", "Share of the last 60 s in which the device computed, 0 to 1."),
        device_waited=Counter(
            "pellucid_device_waited_seconds_total",
            "Seconds that the device had nothing to compute, by what it waited for.",
            ("for",),
            registry=registry,
        ),
        slots=gauge("slots", "Buffers of tiles, by their state.", "state"),
        tiles_per_second=gauge("tiles_per_second", "Tiles embedded a second, over the last 60 s."),
        slides_per_hour=gauge("slides_per_hour", "Scans ended an hour, over the last hour or since the start."),
        readers=gauge("readers", "Reader processes that run, and how many are wanted.", "kind"),
        restarts=Counter(
            "pellucid_restarts_total", "Processes replaced, by why.", ("role", "cause"), registry=registry
        ),
        resident=gauge("process_resident_bytes", "Resident memory of all processes of a role.", "role"),
        open_files=gauge("process_open_files", "Open files of all processes of a role.", "role"),
        scans_in_hand=gauge("scans_in_hand", "Scans that this engine works on."),
        checkpoint_age=gauge(
            "checkpoint_age_seconds", "Longest time since a scan in hand was forced to disk; 0: none in hand."
        ),
    )
    _create_at_zero(made)
    return made


def _create_at_zero(metrics: EngineMetrics) -> None:
    closed: tuple[tuple[Counter | Gauge, tuple[tuple[str, ...], ...]], ...] = (
        (metrics.state, (ENGINE_STATES,)),
        (metrics.device_waited, (WAITS,)),
        (metrics.slots, (SLOT_STATES,)),
        (metrics.readers, (READER_KINDS,)),
        (metrics.restarts, (CHILD_ROLES, RESTART_CAUSES)),
        (metrics.resident, (ROLES,)),
        (metrics.open_files, (ROLES,)),
    )
    for family, values in closed:
        for combination in itertools.product(*values):
            family.labels(*combination)
