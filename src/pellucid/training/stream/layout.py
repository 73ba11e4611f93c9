"""How the tiles drawn from a slide are dealt to the ranks, and read."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.slides import superblocks

_TILES_A_JOB = 16
"""One full superblock: a reader puts so many tiles of twice the encoder's resolution together at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """The drawn tiles of a slide, in the order of superblocks, cut into chunks that are dealt to the ranks in turn.

    Chunks are cut from the drawn tiles, readable or not, so that which rank has which tile is known before any is
    read, and an unreadable one changes nothing for the others.

    `tiles` is `(n,) int64`, indices into the grid; `chunks` `(n,) int64`, the chunk of each.
    """

    tiles: NDArray[np.int64]
    chunks: NDArray[np.int64]
    world: int

    @property
    def n_chunks(self) -> int:
        """Chunks on all ranks."""
        return int(self.chunks[-1]) + 1

    def of(self, rank: int) -> NDArray[np.int64]:
        """The places `(m,) int64`, in `tiles`, of a rank's tiles."""
        return np.flatnonzero(self.chunks % self.world == rank)


def lay_out(grid: TileGrid, drawn: NDArray[np.int64], chunk: int, world: int) -> Layout:
    """Order drawn tiles so that those of a chunk lie together on the slide, and cut the chunks.

    Args:
        grid: of the slide.
        drawn: `(n,)` indices into it, at least one.
        chunk: tiles in a chunk; the last has fewer.
        world: how many ranks there are.
    """
    tiles = drawn[np.concatenate(superblocks(_part(grid, drawn)))]
    return Layout(tiles=tiles, chunks=np.arange(len(tiles), dtype=np.int64) // chunk, world=world)


def jobs(grid: TileGrid, tiles: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of tiles to be read at once, as first place and number: whole superblocks, as long as there is room.

    Args:
        grid: of the slide.
        tiles: `(m,)` indices into it, in the order of superblocks.
    """
    first = count = 0
    for block in superblocks(_part(grid, tiles)):
        if count + len(block) > _TILES_A_JOB:
            yield first, count
            first, count = first + count, 0
        count += len(block)
    if count:
        yield first, count


def most_tiles(n_drawn: int, chunk: int, world: int) -> int:
    """The most tiles of a slide that any rank has."""
    n_chunks = -(-n_drawn // chunk)
    return min(n_drawn, -(-n_chunks // world) * chunk)


def _part(grid: TileGrid, tiles: NDArray[np.int64]) -> TileGrid:
    return replace(grid, coords=grid.coords[tiles], tissue_fraction=grid.tissue_fraction[tiles])
