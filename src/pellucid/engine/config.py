"""How an engine runs: what it answers with, how much of the machine it takes, and how patient it is."""

from dataclasses import dataclass
from pathlib import Path

from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.messages import Factory


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What the processes load.

    `devices` has one factory an accelerator, each making an encoder of `spec`. `sampler` makes the passes of a bag;
    None ends each scan with its embeddings.
    """

    spec: EncoderSpec
    devices: tuple[Factory, ...]
    sampler: Factory | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The programs of the processes, run as `python -m`."""

    reader: str = "pellucid.engine.reader"
    device: str = "pellucid.engine.device"
    posterior: str = "pellucid.engine.posterior"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Sizes and limits; times are seconds.

    Attributes:
        checkpoints: folder of the embeddings in the making; on a local disk.
        readers: reader processes at the start.
        max_readers: the most that are ever run at once.
        device_threads: threads of a device process; part of what makes the bits on a CPU, so it stays as it is.
        n_slots: buffers, each of one batch; the bound of tiles in memory.
        open_scans: scans that wait for a reader at once; all in hand, up to their commit, are twice as many at most.
        lease_s: how long others wait before they take over a scan from an engine that fell silent.
        grace_s: after the first stop signal, how long scans in hand may go on.
        stall_s: a process that holds work and makes no step for so long is killed and replaced.
        device_stall_s: the same for a device or posterior process, whose steps are longer.
        patience_s: how long to wait for a full disk, a lost database or storage that hangs, before the run ends with
            that error.
        recycle_jobs: a reader is replaced after so many jobs; 0 never.
        recycle_bytes: a reader is replaced above this resident memory; 0 never.
        sync_s: embeddings are forced to disk so often; a power cut loses no more.
        kills: a scan whose work kills its process so often, with nothing else in that process, is quarantined.
    """

    checkpoints: Path
    readers: int = 1
    max_readers: int = 1
    device_threads: int = 1
    n_slots: int = 8
    open_scans: int = 3
    lease_s: float = 120.0
    grace_s: float = 60.0
    stall_s: float = 120.0
    device_stall_s: float = 600.0
    patience_s: float = 3600.0
    recycle_jobs: int = 4000
    recycle_bytes: int = 1 << 30
    sync_s: float = 5.0
    kills: int = 3
    modules: Modules = Modules()

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name in ("readers", "max_readers", "device_threads", "n_slots", "open_scans", "kills"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be 1 at least")
