"""What the supervisor and its processes say to each other. Tiles and features never travel here, only their places."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import Decoding
from pellucid.domain.grid import TileGrid
from pellucid.domain.quality import Quality
from pellucid.domain.scan import ScanIdentity, ScanInfo


class Role(StrEnum):
    """What a process of the engine is for."""

    READER = "reader"
    DEVICE = "device"
    POSTERIOR = "posterior"


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """A function that a process calls at its start to make its model: `module:function` and keyword arguments."""

    path: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferShape:
    """The shape of the shared buffers.

    Each of `n_slots` slots holds a batch of tiles `(batch, tile_px, tile_px, 3) uint8` and their features
    `(batch, dim) float16`.
    """

    n_slots: int
    batch: int
    tile_px: int
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The first message to a process. `factory` makes the model of a device or posterior process."""

    role: Role
    number: int
    buffers: BufferShape
    threads: int = 1
    factory: Factory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How an encoder wants its tiles; `tolerance` is the relative one of um/px."""

    tile_px: int
    mpp: float
    tolerance: float
    decoding: Decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFile:
    """A scan's file. `fingerprint` is that of the bytes that were identified: other bytes are refused."""

    path: Path
    mpp: float | None
    mpp_detail: str
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A run of places in a slot: `count` tiles from `first` on."""

    slot: int
    first: int
    count: int


# To a reader. `job` numbers are the supervisor's; each job is answered once, by its result or `Refused`.


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Hash the file's bytes."""

    job: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Open the scan; find its tissue, judge its quality, lay its grid and draw its pictures."""

    job: int
    file: ScanFile
    geometry: Geometry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadTiles:
    """Read tiles `coords (m, 2) int32`, in their order, into the targets' places, whose counts add up to m."""

    job: int
    file: ScanFile
    geometry: Geometry
    level0_px: int
    coords: NDArray[np.int32]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Illustrate:
    """Draw the grid with `readable (n_tiles,) bool`, and read the tiles of most attention, `top`, most first."""

    job: int
    file: ScanFile
    geometry: Geometry
    grid: TileGrid
    readable: NDArray[np.bool_]
    top: tuple[int, ...]


# From a reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Answers `Identify`; `fingerprint` is of the same bytes."""

    job: int
    identity: ScanIdentity
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Answers `Prepare`. `pictures` are PNG files by name; `seen` are the numbers that monitoring follows."""

    job: int
    info: ScanInfo
    grid: TileGrid
    quality: Quality
    seen: dict[str, float]
    pictures: dict[str, bytes]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TilesRead:
    """Answers `ReadTiles`: `readable (m,) bool`; an unreadable tile's place holds zeros. `cpu_s` are CPU seconds."""

    job: int
    readable: NDArray[np.bool_]
    seconds: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Illustrated:
    """Answers `Illustrate` with PNG files by name: `tiles`, `top_tile_1` and so on."""

    job: int
    pictures: dict[str, bytes]
    seconds: float


# To and from the device process


@dataclass(frozen=True, slots=True, kw_only=True)
class Encode:
    """Embed places `rows` of a slot, the others taken as black, and write their features into the slot."""

    job: int
    slot: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """Answers `Encode`: `finite (len(rows),) bool` says whose features are numbers.

    `chunk` is the number of tiles that went through the network at once: less than the batch after the accelerator
    ran out of memory. `waited_s` is how long the process had nothing to do before.
    """

    job: int
    finite: NDArray[np.bool_]
    seconds: float
    waited_s: float
    chunk: int


# To and from the posterior process


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Run the passes of the scan whose embeddings lie in the checkpoint at `path`, its unreadable tiles left out."""

    job: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """Answers `Sample`; the fields are those of `uncertainty.Passes`."""

    job: int
    logits: NDArray[np.float64]
    dropout_free_logit: float
    attention_mean: NDArray[np.float32]
    attention_sd: NDArray[np.float32]
    embedding: NDArray[np.float32]
    ensemble_logits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    tumour: NDArray[np.float32] | None = None
    seconds: float


# From any process


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The process is set up. `detail` says with what, such as the device's name."""

    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """The process can't be set up, and another one couldn't either: a bundle that changed, a missing accelerator."""

    code: str
    message: str
    remedy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A step of a long job was made, such as a megabyte hashed: progress, not mere life."""

    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A job can't be done; the process goes on. `code` is a coded error's, or empty with `trace` for any other."""

    job: int
    code: str
    message: str
    remedy: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End after what was sent before."""


ToReader = Identify | Prepare | ReadTiles | Illustrate
FromReader = Identified | Prepared | TilesRead | Illustrated
Job = ToReader | Encode | Sample
Answer = FromReader | Encoded | Sampled | Refused
Message = Job | Answer | Setup | Ready | Unfit | Alive | Stop
