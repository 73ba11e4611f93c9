"""What the engine is doing at one moment: for `status.json`, the live view and the metrics."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from pellucid.core.files import storage_errors
from pellucid.core.serial import from_plain, to_plain

STATUS_NAME = "status.json"
"""The file of the latest snapshot in a run's output folder."""
STALE_S = 15.0
"""A snapshot is written each second; one older than this comes from an engine that hangs or was killed."""
SUPERVISOR = "supervisor"
"""The role of the process that keeps the others, beside `engine.messages.Role`."""


class EngineState(StrEnum):
    """Where the engine stands. A draining one finishes what it has in hand and claims nothing more."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    ENDED = "ended"


class WaitedFor(StrEnum):
    """What the device waited for, while it had nothing to embed.

    `scans`: none was in hand; `tiles`: readers were slower than the device; `slots`: full buffers waited for what comes
    after the device; `device`: the device process was starting.
    """

    SCANS = "scans"
    TILES = "tiles"
    SLOTS = "slots"
    POSTERIOR = "posterior"
    DATABASE = "database"
    DEVICE = "device"
    PAUSE = "pause"
    OTHER = "other"


class RestartCause(StrEnum):
    """Why a process was replaced: the closed set that metrics label restarts by."""

    SIGSEGV = "SIGSEGV"
    SIGBUS = "SIGBUS"
    SIGABRT = "SIGABRT"
    SIGFPE = "SIGFPE"
    SIGILL = "SIGILL"
    SIGKILL = "SIGKILL"
    SIGNAL = "other_signal"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"
    RECYCLED = "recycled"
    UNKILLABLE = "unkillable"
    EXIT = "exit"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """How many buffers are in each state."""

    free: int = 0
    filling: int = 0
    ready: int = 0
    at_device: int = 0

    @property
    def total(self) -> int:
        """All buffers."""
        return self.free + self.filling + self.ready + self.at_device


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanProgress:
    """One scan in hand.

    `name` is its pseudonym. `tiles_done` are in the checkpoint and survive a kill; `tiles_durable` of them were synced
    and survive a power cut; `tiles_in_flight` are in buffers only. `started_s` and `durable_s` are seconds since the
    work on it began and since its last durable step.
    """

    name: str
    stage: str
    tiles_total: int = 0
    tiles_done: int = 0
    tiles_durable: int = 0
    tiles_in_flight: int = 0
    started_s: float = 0.0
    durable_s: float = 0.0
    stat: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """One process. `role` is a `Role`'s or `SUPERVISOR`; `doing` says on what, under pseudonyms."""

    role: str
    number: int
    pid: int
    rss_bytes: int = 0
    n_files: int = 0
    cpu_s: float = 0.0
    doing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How often a process of `role` was replaced for `cause`, since the engine started."""

    role: str
    cause: RestartCause
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSnapshot:
    """The engine at one moment; plain JSON and back by `core.serial`.

    `at` is in seconds since 1970. `owner` is `records.process_owner()` of the supervisor, so that its death can be
    told. `device_busy_share` is of the last 60 s, `device_busy_share_run` of the whole run; both lie in 0..1.
    `waited_for` holds seconds since the start. `queue` counts tasks by the records' states, and by "backoff" those that
    wait for a later attempt (not counted as queued). `oldest_waiting_s` and `oldest_stat_s` are ages of the routine and
    the STAT task that waits longest, 0 where none waits.
    """

    at: float
    run_id: str
    owner: str
    state: EngineState
    paused_because: str | None = None
    device_busy_share: float = 0.0
    device_busy_share_run: float = 0.0
    waited_for: dict[WaitedFor, float] = field(default_factory=dict)
    slots: Slots = Slots()
    tiles_per_s: float = 0.0
    slides_per_h: float = 0.0
    readers: int = 0
    readers_target: int = 0
    restarts: tuple[Restarts, ...] = ()
    queue: dict[str, int] = field(default_factory=dict)
    oldest_waiting_s: float = 0.0
    oldest_stat_s: float = 0.0
    scans: tuple[ScanProgress, ...] = ()
    processes: tuple[ProcessState, ...] = ()
    lost_if_killed: str = ""

    def age_s(self, now: float | None = None) -> float:
        """Seconds since it was taken; 0 where the clock went back."""
        return max(0.0, (time.time() if now is None else now) - self.at)


def lost_if_killed(scans: Iterable[ScanProgress]) -> str:
    """What a kill of every process, and what a power cut, would cost now: one sentence."""
    in_hand = tuple(scans)
    if not in_hand:
        return "Nothing is in hand: neither a kill nor a power cut loses work."
    flying = sum(scan.tiles_in_flight for scan in in_hand)
    unsynced = sum(scan.tiles_done - scan.tiles_durable for scan in in_hand)
    of = f"{len(in_hand)} {'scan' if len(in_hand) == 1 else 'scans'} in hand"
    return (
        f"Of {of}, a kill now loses {_tiles(flying)}, a power cut {_tiles(flying + unsynced)}; the scans go on later."
    )


def restart_cause(cause: str) -> RestartCause:
    """The label of an ending's cause, as `engine.children` words it: signals, "exit 1", "killed: stalled ..."."""
    text = cause.removeprefix("killed:").strip()
    lowered = text.lower()
    for beginning, label in (
        ("out of memory", RestartCause.OUT_OF_MEMORY),
        ("stalled", RestartCause.STALLED),
        ("recycled", RestartCause.RECYCLED),
        ("unkillable", RestartCause.UNKILLABLE),
        ("exit", RestartCause.EXIT),
    ):
        if lowered.startswith(beginning):
            return label
    first = text.split(" ")[0].rstrip(",.;:")
    if first in set(RestartCause):
        return RestartCause(first)
    return RestartCause.SIGNAL if first.startswith("SIG") else RestartCause.OTHER


def ended(snapshot: EngineSnapshot) -> EngineSnapshot:
    """What is left to say once every process has ended: the figures of the whole run, and nothing in hand."""
    return replace(
        snapshot,
        at=time.time(),
        state=EngineState.ENDED,
        paused_because=None,
        device_busy_share=0.0,
        slots=Slots(),
        tiles_per_s=0.0,
        readers=0,
        readers_target=0,
        scans=(),
        processes=(),
        lost_if_killed=lost_if_killed(()),
    )


def write_snapshot(path: Path, snapshot: EngineSnapshot) -> None:
    """Put the snapshot in the place of the former one, at once for any reader.

    It isn't flushed to disk: one second later the next one comes, and a disk that is slow must not stop the engine.

    Raises:
        StorageFull: the disk is full; the former file is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storage_errors(path):
        try:
            part.write_text(json.dumps(to_plain(snapshot), allow_nan=False, ensure_ascii=False), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def read_snapshot(path: Path) -> EngineSnapshot | None:
    """The snapshot in a file; None where there is none, or none that can be read (after a power cut, of a later form).

    Raises:
        OSError: the file is there but can't be opened.
    """
    try:
        return from_plain(EngineSnapshot, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError:  # not JSON, not UTF-8, or other fields (pydantic's error is a ValueError)
        return None


def _tiles(number: int) -> str:
    return "no tile" if number == 0 else f"{number} {'tile' if number == 1 else 'tiles'}"
