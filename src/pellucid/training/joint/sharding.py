"""Which tiles of a bag each rank encodes: chunk c of the bag belongs to rank c modulo the number of ranks."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Up to a chunk's worth of tiles: `number` counts through the bag, `start` and `stop` through a rank's rows."""

    number: int
    start: int
    stop: int


def rows_of(rank: int, world: int, n: int, chunk: int) -> NDArray[np.int64]:
    """The rows of the bag that a rank encodes, ascending.

    Args:
        rank: from 0.
        world: how many ranks there are.
        n: tiles in the bag.
        chunk: tiles in a chunk; the bag's last may have fewer.
    """
    rows = np.arange(n, dtype=np.int64)
    own: NDArray[np.int64] = rows[rows // chunk % world == rank]
    return own


def chunks_of(rank: int, world: int, n: int, chunk: int) -> list[Chunk]:
    """The chunks that a rank encodes, in the order of the bag; none where there are fewer chunks than ranks."""
    chunks, start = [], 0
    for number in range(rank, -(-n // chunk), world):
        size = min(chunk, n - number * chunk)
        chunks.append(Chunk(number=number, start=start, stop=start + size))
        start += size
    return chunks


def chunks_by_number(numbers: NDArray[np.int64]) -> list[Chunk]:
    """The chunks of a rank whose rows say which chunk each is of; one whose tiles could all not be read isn't there.

    Args:
        numbers: `(m,)`, ascending, the chunk of each of the rank's rows, counted through the bag.
    """
    bounds = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(numbers)]
    return [Chunk(number=int(numbers[start]), start=start, stop=stop) for start, stop in pairwise(bounds)]
