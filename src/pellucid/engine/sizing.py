"""How many processes, threads and buffers a machine bears, from what was allotted to this process and not its size."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pellucid.engine.cgroups import cpu_quotas, memory_left

_PROC = Path("/proc")
_AVAILABLE = re.compile(r"MemAvailable:\s*(\d+) kB")
_MIB = 1 << 20
_GIB = 1 << 30

# Bytes that a part takes at most in normal work. A reader holds two open scans, each with a cache of 32 MiB where
# OpenSlide reads it; a device or posterior process holds torch, a model and its working memory.
READER_BYTES = 300 * _MIB
SCAN_BYTES = 64 * _MIB
MODEL_BYTES = {"cpu": 2 * _GIB, "cuda": 6 * _GIB}

MIN_SLOTS, MAX_SLOTS = 4, 32
MAX_READERS = 32
MAX_OPEN_SCANS = 8
_FIRST_READERS_OF_ACCELERATOR = 4
_SLOTS_SHARE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """Cores that this process may use, and why no more."""

    cores: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes of memory that this process and its children may use, and why no more."""

    bytes: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The engine's sizes on this machine.

    `readers` start and up to `max_readers` may run. `device_threads` stay as they are while the engine runs: another
    number may change the last bits of an embedding. `n_slots` buffers hold a batch of tiles each, and `open_scans`
    scans are in hand at once. `explanation` says so in sentences.
    """

    readers: int
    max_readers: int
    device_threads: int
    n_slots: int
    open_scans: int
    explanation: tuple[str, ...]


def allotted_cores(
    *, affinity: int | None = None, environ: Mapping[str, str] = os.environ, proc_root: Path = _PROC
) -> Allotment:
    """The least of the processor affinity, every cgroup quota above this process, and Slurm's allotment.

    Args:
        affinity: cores that this process may be scheduled on; asked of the system where omitted.
        environ: the environment, for Slurm's variables.
        proc_root: where the proc file system is mounted.
    """
    n_affine = len(os.sched_getaffinity(0)) if affinity is None else affinity
    limits: list[tuple[float, str]] = [(n_affine, "the processor affinity")]
    limits += [(cores, f"the cgroup quota of {folder}") for cores, folder in cpu_quotas(proc_root)]
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if (value := environ.get(name, "")).isdigit() and int(value) > 0:
            limits.append((int(value), name))
    least, source = min(limits, key=lambda limit: limit[0])
    cores = max(1, int(least))
    exact = "" if least == cores else f" of {least:.2f}"
    return Allotment(cores=cores, why=f"{_counted(cores, 'core')}: {source}{exact} is the least of what limits them")


def memory_budget(*, environ: Mapping[str, str] = os.environ, proc_root: Path = _PROC) -> Budget:
    """The least of the memory available on the machine, what is left under every cgroup limit, and Slurm's allotment.

    Args:
        environ: the environment, for Slurm's variable.
        proc_root: where the proc file system is mounted.
    """
    limits = [(left, f"what is left under the cgroup limit of {folder}") for left, folder in memory_left(proc_root)]
    if (available := _mem_available(proc_root)) is not None:
        limits.append((available, "the memory available on the machine"))
    if (value := environ.get("SLURM_MEM_PER_NODE", "")).isdigit() and int(value) > 0:
        limits.append((int(value) * _MIB, "SLURM_MEM_PER_NODE"))
    if not limits:
        return Budget(bytes=2 * _GIB, why="2.0 GiB of memory: assumed, as nothing here says how much there is")
    least, source = min(limits)
    return Budget(bytes=least, why=f"{least / _GIB:.1f} GiB of memory: {source} is the least of what limits it")


def choose_sizing(
    *,
    batch_bytes: int,
    device: Literal["cpu", "cuda"],
    cores: Allotment,
    memory: Budget,
    device_threads: int | None = None,
    model_bytes: int | None = None,
) -> Sizing:
    """Sizes that fit the allotted cores and memory; the least machine gets one reader, one thread and four slots.

    Args:
        batch_bytes: bytes of a slot: a batch's tiles and features.
        device: where the encoder runs.
        cores: of `allotted_cores`.
        memory: of `memory_budget`.
        device_threads: an operator's choice of the encoder's threads on a CPU.
        model_bytes: what the processes that hold models take; that of large models where omitted.
    """
    spare = max(0, memory.bytes - (MODEL_BYTES[device] if model_bytes is None else model_bytes))
    threads, readers, most = _cpu_shares(device, cores.cores, device_threads)
    bearable = max(1, spare // (2 * READER_BYTES))
    most = min(most, bearable, MAX_READERS)
    wanted_slots = min(MAX_SLOTS, MIN_SLOTS + 2 * most)
    n_slots = max(MIN_SLOTS, min(wanted_slots, memory.bytes // _SLOTS_SHARE // batch_bytes))
    open_scans = max(2, min(MAX_OPEN_SCANS, most + 2, spare // (4 * SCAN_BYTES)))
    readers = min(readers, most)
    return Sizing(
        readers=readers,
        max_readers=most,
        device_threads=threads,
        n_slots=n_slots,
        open_scans=open_scans,
        explanation=(
            f"{cores.why}.",
            f"{memory.why}.",
            _encoder_sentence(device, threads, chosen=device_threads is not None),
            f"Reading starts with {_counted(readers, 'process', 'processes')} and may grow to {most}"
            + (f", as {spare / _GIB:.1f} GiB besides the models bear no more." if most == bearable else "."),
            f"{n_slots} slots hold tiles, {batch_bytes / _MIB:.1f} MiB each; {open_scans} scans are in hand at once.",
            *_warnings(spare),
        ),
    )


def _cpu_shares(device: str, cores: int, chosen: int | None) -> tuple[int, int, int]:
    """Threads of the encoder, readers at the start, and the most of them."""
    if device == "cuda":
        # At the start a core is left to the supervisor and the device process's own thread.
        return 1, max(1, min(_FIRST_READERS_OF_ACCELERATOR, cores - 1)), cores
    # An encoder on a CPU takes far longer for a tile than its reading: it gets all cores but one.
    threads = max(1, cores - 1) if chosen is None else chosen
    return threads, 1, cores


def _encoder_sentence(device: str, threads: int, *, chosen: bool) -> str:
    if device == "cuda":
        return "The encoder runs on an accelerator."
    reason = "as the settings say" if chosen else "which leaves a core to readers where there is more than one"
    return f"The encoder has {_counted(threads, 'thread')}, {reason}."


def _warnings(spare: int) -> tuple[str, ...]:
    if spare >= READER_BYTES:
        return ()
    return ("That is little memory for the models and a reader: the run may be killed for it.",)


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _mem_available(proc_root: Path) -> int | None:
    try:
        text = (proc_root / "meminfo").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if (found := _AVAILABLE.match(line)) is not None:
            return int(found[1]) * 1024
    return None
