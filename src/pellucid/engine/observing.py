"""What the engine looks like from outside, once a second; and how many readers that calls for."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pellucid.core.telemetry import logs
from pellucid.engine import vitals
from pellucid.engine.batches import SlotState
from pellucid.engine.flow import Flow, Stage
from pellucid.engine.ledger import STAT
from pellucid.engine.member import Member
from pellucid.engine.messages import Role
from pellucid.engine.snapshot import (
    SUPERVISOR,
    EngineSnapshot,
    EngineState,
    ProcessState,
    RestartCause,
    Restarts,
    ScanProgress,
    Slots,
    lost_if_killed,
)
from pellucid.engine.tuning import Load, ReaderTuner

if TYPE_CHECKING:
    from pellucid.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """The queue as the ledger last saw it: see `EngineSnapshot`. `paused` says why it gives out nothing, if so."""

    states: Mapping[str, int] = field(default_factory=dict)
    oldest_waiting_s: float = 0.0
    oldest_stat_s: float = 0.0
    paused: str | None = None


def take_snapshot(engine: "Engine", *, run_id: str, owner: str, queue: QueueView) -> EngineSnapshot:
    """The engine now."""
    rates, devices = engine.rates, len(engine.models.devices)
    scans = tuple(_scan(flow) for flow in engine.scans)
    slots = engine.slots()
    return EngineSnapshot(
        at=time.time(),
        run_id=run_id,
        owner=owner,
        state=_state(engine, paused=queue.paused is not None),
        paused_because=queue.paused if engine.desk.because is None else str(engine.desk.because),
        device_busy_share=rates.busy_share(devices),
        device_busy_share_run=rates.busy_share_run(devices),
        waited_for={reason: round(seconds, 3) for reason, seconds in rates.waited.items() if seconds},
        slots=Slots(
            free=slots[SlotState.FREE],
            filling=slots[SlotState.FILLING],
            ready=slots[SlotState.READY],
            at_device=slots[SlotState.AT_DEVICE],
        ),
        tiles_per_s=rates.tiles_per_s,
        slides_per_h=rates.slides_per_h,
        readers=sum(member.ready for member in engine.crew.of(Role.READER)),
        readers_target=engine.crew.target_readers,
        restarts=_restarts(engine.crew.restarts),
        queue=dict(queue.states),
        oldest_waiting_s=queue.oldest_waiting_s,
        oldest_stat_s=queue.oldest_stat_s,
        scans=scans,
        processes=(_supervisor(), *_processes(engine.crew.members)),
        lost_if_killed=lost_if_killed(scans),
    )


def _state(engine: "Engine", *, paused: bool) -> EngineState:
    if engine.desk.because is not None or (paused and not engine.scans):
        return EngineState.PAUSED
    if engine.stop.asked:
        return EngineState.DRAINING
    ready = any(member.ready for member in engine.crew.of(Role.DEVICE))
    return EngineState.RUNNING if ready else EngineState.STARTING


def _scan(flow: Flow) -> ScanProgress:
    now = time.monotonic()
    checkpoint = flow.checkpoint
    return ScanProgress(
        name=flow.work.name,
        stage=flow.stage.value,
        tiles_total=flow.n_tiles,
        tiles_done=flow.n_done,
        tiles_durable=0 if checkpoint is None else min(checkpoint.n_synced, flow.n_done),
        tiles_in_flight=0 if checkpoint is None else max(0, flow.n_tiles - flow.n_done - flow.waiting),
        started_s=now - flow.since,
        durable_s=now - flow.last_write,
        stat=flow.work.priority >= STAT,
        alone=flow.work.alone,
    )


def _processes(members: Iterable[Member]) -> Iterable[ProcessState]:
    for member in members:
        child = member.child
        if child is not None:
            yield ProcessState(
                role=member.role.value,
                number=member.number,
                pid=child.pid,
                rss_bytes=child.rss_bytes,
                n_files=child.n_files,
                cpu_s=child.cpu_s,
                doing=_doing(member),
            )


def _doing(member: Member) -> str:
    if not member.hand:
        return "" if member.ready else "starting"
    first = member.hand[0]
    name = first.about.work.name if isinstance(first.about, Flow) else ""
    return f"{type(first.job).__name__} {name}".strip()


def _supervisor() -> ProcessState:
    pid = os.getpid()
    return ProcessState(
        role=SUPERVISOR,
        number=0,
        pid=pid,
        rss_bytes=vitals.private_bytes(pid),
        n_files=vitals.open_files(pid),
        cpu_s=vitals.cpu_seconds(pid),
    )


def _restarts(counts: Mapping[tuple[str, RestartCause], int]) -> tuple[Restarts, ...]:
    return tuple(Restarts(role=role, cause=cause, count=count) for (role, cause), count in sorted(counts.items()))


class Tuning:
    """Feeds the reader tuner with what the last second looked like, and does what it says."""

    def __init__(self, engine: "Engine", cores: int) -> None:
        config = engine.config
        self._tuner = ReaderTuner(min_readers=1, max_readers=max(1, config.max_readers))
        self._engine, self._cores = engine, cores
        self._last = time.monotonic()
        self._busy = engine.rates.busy_s
        self._cpu: dict[int, float] = {}

    def beat(self) -> None:
        """Called about once a second."""
        engine, now = self._engine, time.monotonic()
        elapsed = max(now - self._last, 1e-6)
        slots, n_slots = engine.slots(), engine.config.n_slots
        load = Load(
            device_busy=min(1.0, (engine.rates.busy_s - self._busy) / elapsed / max(1, len(engine.models.devices))),
            free_slots=slots[SlotState.FREE] / n_slots,
            ready_slots=slots[SlotState.READY] / n_slots,
            cpu_idle=max(0.0, 1.0 - self._used() / elapsed / self._cores),
            readers=engine.crew.target_readers,
            tile_jobs=sum(len(flow.blocks) for flow in engine.scans if flow.stage is Stage.TILES),
        )
        self._last, self._busy = now, engine.rates.busy_s
        advice = self._tuner.advise(load)
        if advice.step:
            engine.crew.target_readers += advice.step
            logs.get_logger("engine").info("readers adjusted", readers=engine.crew.target_readers, why=advice.why)
            engine.crew.adjust()

    def _used(self) -> float:
        """CPU seconds of all processes since the last call."""
        pids = [os.getpid(), *(member.child.pid for member in self._engine.crew.members if member.child is not None)]
        spent = {pid: vitals.cpu_seconds(pid) for pid in pids}
        used = sum(max(0.0, seconds - self._cpu.get(pid, seconds)) for pid, seconds in spent.items())
        self._cpu = spent
        return used
