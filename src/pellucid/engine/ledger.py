"""The seam between the engine and whoever knows what is to be done and where answers go."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.core.telemetry.trace import Trace
from pellucid.domain.grid import TileGrid
from pellucid.domain.quality import Quality
from pellucid.domain.scan import ScanIdentity, ScanInfo
from pellucid.engine.messages import Sampled, ScanFile

STAT = 1000
"""The priority from which a scan is urgent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A scan to do.

    `key` is that of its result, `name` its pseudonym, `scan` its digest. One that is to be run `alone` has nothing
    else beside it. `claim` is the ledger's own.
    """

    key: str
    name: str
    scan: str
    file: ScanFile
    priority: int = 0
    alone: bool = False
    claim: Any = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What was seen of a scan; `pictures` are PNG files by name, `features` the numbers that monitoring follows."""

    info: ScanInfo
    quality: Quality
    features: Mapping[str, float]
    pictures: dict[str, bytes]
    n_tiles: int = 0
    n_unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """How a scan came out.

    `grid` holds the tiles that could be read; their embeddings `(n_read, dim) float16` lie in the checkpoint at
    `embeddings`. `passes` is None where the engine ends with embeddings. `seconds` are by stage; `circumstances` say
    what was out of the ordinary, such as a smaller batch. `trace` tells the whole way, and may be added to.
    """

    seen: Seen
    grid: TileGrid
    embeddings: Path
    passes: Sampled | None
    seconds: dict[str, float]
    circumstances: dict[str, str] = field(default_factory=dict)
    trace: Trace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a scan stood when it ended without an answer."""

    seconds: dict[str, float]
    seen: Seen | None = None
    circumstances: dict[str, str] = field(default_factory=dict)
    trace: Trace | None = None


class Ledger(Protocol):
    """What is to be done, and what became of it. Every method may block; the engine calls them one at a time.

    Any may raise `StorageFull` or another error of the place that results go to: the engine then pauses and asks
    again. One that tells of a scan's end raises `LeaseLost` where somebody else has taken the scan over.
    """

    def to_identify(self) -> Path | None:
        """The next file whose bytes must be hashed; None where there is none to be hashed now."""
        ...

    def identified(self, path: Path, identity: ScanIdentity, fingerprint: str) -> None:
        """The file's identity."""
        ...

    def unidentified(self, path: Path, error: PellucidError) -> None:
        """The file could not be hashed."""
        ...

    def claim(self) -> Work | None:
        """Take a scan; None where none waits now."""
        ...

    def keep(self, works: Sequence[Work], progressed: Collection[str]) -> set[str]:
        """Prolong the leases; returns the keys that are lost. `progressed` made a durable step since the last call."""
        ...

    def release(self, work: Work) -> None:
        """Give a scan back as if it had not been taken."""
        ...

    def answered(self, work: Work, answer: Answer) -> None:
        """A scan's answer."""
        ...

    def unanswered(self, work: Work, error: PellucidError, account: Account) -> None:
        """The scan was looked at but gives no answer, or failed; `account.seen` tells which."""
        ...

    def quarantined(self, work: Work, cause: str, account: Account) -> None:
        """The scan's work killed its process each time it was alone."""
        ...

    def tick(self) -> None:
        """Called about every second: whatever has to be looked at from time to time."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing more will come: nothing to hash, and nothing that could be claimed later."""
        ...


def read_subset(grid: TileGrid, readable: NDArray[np.bool_]) -> TileGrid:
    """The tiles that could be read."""
    return replace(grid, coords=grid.coords[readable], tissue_fraction=grid.tissue_fraction[readable])
