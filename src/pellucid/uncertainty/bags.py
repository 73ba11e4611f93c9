"""What must be true of a bag before anything is said of it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators.bags import check_bag_shape
from pellucid.uncertainty.errors import BagNonFinite, BagPrecisionMismatch

CHUNK_TILES = 1024
"""Tiles that go through a head at once; part of what makes the bits, so it is no option."""

_EXPONENT = np.uint16(0x7C00)
"""The exponent bits of a float16: all set in NaN and infinity, and only there."""


def check_bag(features: NDArray[np.float16], input_dim: int) -> None:
    """Refuse a bag that can't be scored.

    Args:
        features: `(n_tiles, input_dim) float16`.
        input_dim: the width that the head is for.

    Raises:
        BagEmpty: no tile.
        BagShapeMismatch: not `(n_tiles, input_dim)`.
        BagPrecisionMismatch: the features aren't float16.
        BagNonFinite: an embedding holds NaN or infinity.
    """
    check_bag_shape(features.shape, input_dim)
    if features.dtype != np.float16:
        raise BagPrecisionMismatch(f"The embeddings are {features.dtype}.")
    broken = sum(_broken_tiles(features[tiles]) for tiles in chunks(len(features)))
    if broken:
        raise BagNonFinite(f"{broken} of {len(features)} tile embeddings hold NaN or infinity.")


def chunks(n_tiles: int) -> Iterator[slice]:
    """The runs of at most `CHUNK_TILES` tiles that a bag is worked through in."""
    return (slice(start, start + CHUNK_TILES) for start in range(0, n_tiles, CHUNK_TILES))


def _broken_tiles(features: NDArray[np.float16]) -> int:
    # the integer view is several times faster than numpy.isfinite, which converts every float16
    return int(((features.view(np.uint16) & _EXPONENT) == _EXPONENT).any(axis=1).sum())
