"""One scan's way through the engine: what of it is done, in hand and still to do."""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.core.telemetry.trace import Trace
from pellucid.domain.grid import TileGrid
from pellucid.domain.quality import Quality
from pellucid.engine.checkpoint import Checkpoint
from pellucid.engine.ledger import Account, Answer, Seen, Work, read_subset
from pellucid.engine.messages import Prepared, Sampled
from pellucid.slides import superblocks, unreadable_measure


class Stage(StrEnum):
    """What a scan waits for."""

    PREPARE = "prepare"
    TILES = "tiles"
    PASSES = "passes"
    PICTURES = "pictures"
    COMMIT = "commit"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Flow:
    """A scan in hand.

    `number` is its own, also where the same scan is taken up again. `blocks` are the tiles that no reader has yet, as
    arrays of indices into the grid, `waiting` their number; `reading` counts the blocks that readers have, `readers`
    are the readers that work on it. `asked` says that a process has its next step. `durable` is the number of tiles
    that were on disk when the leases were last prolonged. `kills` counts the posterior processes that it ended.
    """

    number: int
    work: Work
    stage: Stage = Stage.PREPARE
    prepared: Prepared | None = None
    checkpoint: Checkpoint | None = None
    blocks: deque[NDArray[np.int64]] = field(default_factory=deque)
    waiting: int = 0
    reading: int = 0
    readers: set[int] = field(default_factory=set)
    passes: Sampled | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    circumstances: dict[str, str] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    durable: int = 0
    last_write: float = field(default_factory=time.monotonic)
    asked: bool = False
    kills: int = 0
    trace: Trace = field(init=False)

    def __post_init__(self) -> None:
        """Begin the trace."""
        self.trace = Trace(self.work.name)

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self.stage in {Stage.COMMIT, Stage.ENDED}

    def lay_out(self, prepared: Prepared, checkpoint: Checkpoint) -> None:
        """The scan was looked at: its tiles wait, but for those that an earlier attempt embedded."""
        self.prepared, self.checkpoint = prepared, checkpoint
        self.pictures = dict(prepared.pictures)
        for stage, seconds in prepared.seconds.items():
            self.spend(stage, seconds)
        done = checkpoint.done
        left = (block[~done[block]] for block in superblocks(prepared.grid))
        self.blocks.extend(block for block in left if len(block))
        self.waiting = len(prepared.grid) - checkpoint.n_done
        self.durable = checkpoint.n_done
        if checkpoint.n_done:
            self.circumstances["resumed"] = f"at tile {checkpoint.n_done} of {len(prepared.grid)}"
        self.stage, self.asked = Stage.TILES, False

    def hand_out(self, block: NDArray[np.int64]) -> None:
        """A reader has the first block, or its beginning."""
        rest = self.blocks.popleft()[len(block) :]
        if len(rest):
            self.blocks.appendleft(rest)
        self.waiting -= len(block)
        self.reading += 1

    def take_back(self, block: NDArray[np.int64]) -> None:
        """A reader could not read a block: it is the next again."""
        self.reading -= 1
        if self.stage is Stage.TILES:
            self.blocks.appendleft(block)
            self.waiting += len(block)

    def forget_tiles(self) -> None:
        """No further tile is to be read."""
        self.blocks.clear()
        self.waiting = 0

    def lost_process(self, process: str, cause: str) -> None:
        """A process ended with work of this scan in hand."""
        self.circumstances["restarted"] = cause
        self.trace.add("restart", process, start=time.time(), duration=0.0, cause=cause)

    def spend(self, stage: str, seconds: float) -> None:
        """Time was spent on the scan."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def grid(self) -> TileGrid:
        """The scan's tiles, once it was prepared."""
        if self.prepared is None:
            raise ValueError("the scan was not prepared")
        return self.prepared.grid

    @property
    def n_tiles(self) -> int:
        """Tiles in all; 0 before the scan was prepared."""
        return 0 if self.prepared is None else len(self.prepared.grid)

    @property
    def n_done(self) -> int:
        """Tiles whose embedding is in the checkpoint, unreadable ones too."""
        return 0 if self.checkpoint is None else self.checkpoint.n_done

    @property
    def is_embedded(self) -> bool:
        """Whether every tile is done."""
        return self.checkpoint is not None and self.checkpoint.n_done == self.n_tiles

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which tiles could be read, `(n_tiles,) bool`."""
        if self.checkpoint is None:
            return np.zeros(0, np.bool_)
        return self.checkpoint.readable

    def seen(self) -> Seen | None:
        """What was seen so far; None before the scan was prepared."""
        if self.prepared is None:
            return None
        prepared, n_unreadable = self.prepared, 0
        quality = prepared.quality
        if self.n_tiles and self.is_embedded:
            n_unreadable = self.n_tiles - int(self.readable.sum())
            quality = Quality(measures=(*quality.measures, unreadable_measure(n_unreadable, self.n_tiles)))
        return Seen(
            info=prepared.info,
            quality=quality,
            features=prepared.seen,
            pictures=self.pictures,
            n_tiles=self.n_tiles,
            n_unreadable=n_unreadable,
        )

    def account(self, *, looked_at: bool) -> Account:
        """Where the scan stands as it ends without an answer."""
        return Account(
            seconds=dict(self.seconds),
            seen=self.seen() if looked_at else None,
            circumstances=dict(self.circumstances),
            trace=self.trace,
        )

    def answer(self) -> Answer:
        """How the scan came out."""
        seen, checkpoint = self.seen(), self.checkpoint
        if seen is None or checkpoint is None:
            raise ValueError("the scan has no answer yet")
        return Answer(
            seen=seen,
            grid=read_subset(self.grid, self.readable),
            embeddings=checkpoint.path,
            passes=self.passes,
            seconds=dict(self.seconds),
            circumstances=dict(self.circumstances),
            trace=self.trace,
        )
