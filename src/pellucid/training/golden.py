"""Generated tiles for a bundle's golden checks: no patient's pixels travel with a model."""

import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator
from pellucid.domain.encoder import EncoderSpec

_PALE, _DARK = np.array([244.0, 222.0, 238.0]), np.array([96.0, 52.0, 140.0])
_COARSEST = 5


def golden_tiles(spec: EncoderSpec) -> NDArray[np.uint8]:
    """A full batch of tiles of blotches from fine to coarse, between the colours of eosin and haematoxylin.

    Returns:
        `(batch_size, tile_px, tile_px, 3) uint8`; always the same for the same geometry.
    """
    rng = generator("golden-tiles", spec.batch_size, spec.tile_px)
    return np.stack([_tile(rng, spec.tile_px, coarse=1 + number % _COARSEST) for number in range(spec.batch_size)])


def _tile(rng: np.random.Generator, edge: int, *, coarse: int) -> NDArray[np.uint8]:
    block = 1 << coarse
    blotches = rng.random((-(-edge // block), -(-edge // block), 1))
    share = np.repeat(np.repeat(blotches, block, axis=0), block, axis=1)[:edge, :edge]
    return np.asarray(np.rint(_PALE + share * (_DARK - _PALE)), dtype=np.uint8)
