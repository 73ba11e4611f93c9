"""Tile encoders: spec, weights, transform and the one way to embed tiles; and bags of embeddings.

What needs torch is imported on first use, so that reading a bag or a spec doesn't pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.encoders.bag import BAG_SUFFIX, Bag, bag_provenance, half_features, read_bag, write_bag
from pellucid.encoders.errors import (
    BagUnfit,
    BagUnreadable,
    BagVersionUnknown,
    NonFiniteFeatures,
    SpecUnusable,
    TilesUnfit,
    WeightsAltered,
    WeightsUnfit,
)
from pellucid.encoders.spec import SMALL_SPEC, small_spec

if TYPE_CHECKING:
    from pellucid.encoders.small import SmallEncoder
    from pellucid.encoders.tile_encoder import TileEncoder, load_encoder
    from pellucid.encoders.weights import check_state, state_digest

__all__ = [
    "BAG_SUFFIX",
    "SMALL_SPEC",
    "Bag",
    "BagUnfit",
    "BagUnreadable",
    "BagVersionUnknown",
    "NonFiniteFeatures",
    "SmallEncoder",
    "SpecUnusable",
    "TileEncoder",
    "TilesUnfit",
    "WeightsAltered",
    "WeightsUnfit",
    "bag_provenance",
    "check_state",
    "half_features",
    "load_encoder",
    "read_bag",
    "small_spec",
    "state_digest",
    "write_bag",
]

_NEEDS_TORCH = {
    "SmallEncoder": "small",
    "TileEncoder": "tile_encoder",
    "load_encoder": "tile_encoder",
    "check_state": "weights",
    "state_digest": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
