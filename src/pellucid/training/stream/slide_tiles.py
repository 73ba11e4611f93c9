"""What one rank gets for one step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.training.stream.failures import SlideFailure
from pellucid.training.stream.layout import Layout
from pellucid.training.stream.turns import Turn
from pellucid.training.survey import SurveyedScan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideTiles:
    """What one rank gets for one step.

    Attributes:
        step: its number.
        epoch: of the step.
        position: of the step in its epoch.
        scan: the one that was taken, after substitutions.
        tiles: `(n,) int64`, the drawn and readable tiles as indices into the scan's grid, in the order of superblocks;
            the same on every rank.
        rows: `(m,) int64`, ascending, which of the n this rank holds.
        chunks: `(m,) int64`, ascending, the chunk of each of them, counted over all ranks. Chunk c belongs to rank
            c modulo the number of ranks.
        n_chunks: how many chunks there are on all ranks. One is short, or empty, where tiles of it are unreadable.
        pixels: `(m, tile_px, tile_px, 3) uint8`, in shared memory: valid until the tiles are released.
        failures: what failed at this step before this scan was taken, and was not in the book.
        waited_s: seconds that `get` blocked.
    """

    step: int
    epoch: int
    position: int
    scan: SurveyedScan
    tiles: NDArray[np.int64]
    rows: NDArray[np.int64]
    chunks: NDArray[np.int64]
    n_chunks: int
    pixels: NDArray[np.uint8]
    failures: tuple[SlideFailure, ...]
    waited_s: float


def slide_tiles(
    turn: Turn,
    layout: Layout,
    rank: int,
    *,
    readable: NDArray[np.bool_],
    pixels: NDArray[np.uint8],
    failures: Sequence[SlideFailure],
    waited_s: float,
) -> SlideTiles:
    """Number the readable tiles of a slide, and say which of them a rank holds.

    Args:
        turn: the slide's.
        layout: of all drawn tiles.
        rank: whose part it is.
        readable: `(n_drawn,) bool`, on all ranks.
        pixels: of the rank's readable tiles, in the layout's order.
        failures: before this slide was taken.
        waited_s: seconds that it took to get.
    """
    kept = layout.of(rank)
    kept = kept[readable[kept]]
    return SlideTiles(
        step=turn.step,
        epoch=turn.epoch,
        position=turn.position,
        scan=turn.scan,
        tiles=layout.tiles[readable],
        rows=(np.cumsum(readable) - 1)[kept],
        chunks=layout.chunks[kept],
        n_chunks=layout.n_chunks,
        pixels=pixels,
        failures=tuple(failures),
        waited_s=waited_s,
    )
