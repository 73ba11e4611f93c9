"""The read of one slide's tiles on one rank, as it stands."""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.training.stream.layout import Layout, jobs
from pellucid.training.stream.turns import Turn


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one slide's tiles in shared memory.

    `haunts` are processes that could not be ended and may still write to it.
    """

    number: int
    read: "SlideRead | None" = None
    haunts: set[int] = field(default_factory=set)

    @property
    def is_free(self) -> bool:
        """Whether a slide may be read into it."""
        return self.read is None and not self.haunts


@dataclass(slots=True, eq=False)
class Piece:
    """What a reader does at once: read `count` tiles from place `first` on of those that this rank has.

    With no tiles it is a look at the file's bytes, whether they are the surveyed ones. `kills` counts the processes
    that it ended, `rests_until` is when it may be tried again, by the monotonic clock.
    """

    read: "SlideRead"
    first: int
    count: int
    kills: int = 0
    rests_until: float = 0.0

    @property
    def is_look(self) -> bool:
        """Whether no tile is read."""
        return self.count == 0


class SlideRead:
    """The tiles `mine (m,) int64` of a slide, indices into its grid, on their way into a slot.

    Attributes:
        slot: where they go; None until there is room.
        readable: `(m,) bool`.
        waiting: pieces that no reader has.
        given: how many pieces readers have in hand.
        left: pieces that aren't read.
        readers: numbers of the readers that have the slide open.
        settled: set once all are read, or it is known that they can't be.
        error: why they can't be.
        is_doubtful: whether the file's bytes must be looked at before any more tiles are read.
        is_unwanted: whether its slot goes to another as soon as no reader writes there.
    """

    def __init__(self, turn: Turn, layout: Layout, rank: int) -> None:
        grid = turn.scan.grid
        self.turn, self.layout = turn, layout
        self.mine: NDArray[np.int64] = layout.tiles[layout.of(rank)]
        self.readable: NDArray[np.bool_] = np.zeros(len(self.mine), np.bool_)
        pieces = jobs(grid, self.mine) if len(self.mine) else ()
        self.waiting = deque(Piece(self, first, count) for first, count in pieces)
        self.left = len(self.waiting)
        self.given = 0
        self.readers: set[int] = set()
        self.slot: Slot | None = None
        self.error: PellucidError | None = None
        self.is_doubtful = False
        self.is_unwanted = False
        self.settled = threading.Event()
        if self.left == 0:
            self.settled.set()

    @property
    def next(self) -> Piece | None:
        """What a reader may do next."""
        if self.slot is None or not self.waiting or (self.is_doubtful and not self.waiting[0].is_look):
            return None
        return self.waiting[0]

    def doubt(self) -> None:
        """Have the file's bytes looked at before anything else."""
        if not self.is_doubtful:
            self.is_doubtful = True
            self.waiting.appendleft(Piece(self, 0, 0))

    def put_back(self, piece: Piece) -> None:
        """A piece that was given has to be given again."""
        if self.settled.is_set():
            return
        if self.is_doubtful and not piece.is_look:
            self.waiting.append(piece)
        else:
            self.waiting.appendleft(piece)

    def landed(self, piece: Piece, readable: NDArray[np.bool_]) -> None:
        """A piece was read."""
        self.readable[piece.first : piece.first + piece.count] = readable
        self.left -= 1
        if self.left == 0:
            self.settled.set()

    def fail(self, error: PellucidError) -> None:
        """The slide can't be read; the first reason given counts."""
        if not self.settled.is_set():
            self.error = error
            self.settled.set()
        self.waiting.clear()
