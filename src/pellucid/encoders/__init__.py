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
    DeviceUnusable,
    EncoderUnknown,
    FoundationMissing,
    GoldenTileMismatch,
    GoldenTileUnreadable,
    HubAccessRefused,
    HubUnreachable,
    NonFiniteFeatures,
    RevisionUnpinned,
    SpecUnusable,
    TilesUnfit,
    WeightsAltered,
    WeightsMissing,
    WeightsUnfit,
    WeightsUnreadable,
)
from pellucid.encoders.registry import EncoderEntry, encoder_entries, encoder_entry
from pellucid.encoders.spec import SMALL_SPEC, small_spec

if TYPE_CHECKING:
    from pellucid.encoders.architectures import build_network
    from pellucid.encoders.golden_tile import check_golden_tile, read_golden_tiles
    from pellucid.encoders.published import load_published, read_published
    from pellucid.encoders.small import SmallEncoder
    from pellucid.encoders.tile_encoder import TileEncoder, load_encoder, load_network
    from pellucid.encoders.weight_files import read_weights
    from pellucid.encoders.weights import check_state, state_digest

__all__ = [
    "BAG_SUFFIX",
    "SMALL_SPEC",
    "Bag",
    "BagUnfit",
    "BagUnreadable",
    "BagVersionUnknown",
    "DeviceUnusable",
    "EncoderEntry",
    "EncoderUnknown",
    "FoundationMissing",
    "GoldenTileMismatch",
    "GoldenTileUnreadable",
    "HubAccessRefused",
    "HubUnreachable",
    "NonFiniteFeatures",
    "RevisionUnpinned",
    "SmallEncoder",
    "SpecUnusable",
    "TileEncoder",
    "TilesUnfit",
    "WeightsAltered",
    "WeightsMissing",
    "WeightsUnfit",
    "WeightsUnreadable",
    "bag_provenance",
    "build_network",
    "check_golden_tile",
    "check_state",
    "encoder_entries",
    "encoder_entry",
    "half_features",
    "load_encoder",
    "load_network",
    "load_published",
    "read_bag",
    "read_golden_tiles",
    "read_published",
    "read_weights",
    "small_spec",
    "state_digest",
    "write_bag",
]

_NEEDS_TORCH = {
    "SmallEncoder": "small",
    "TileEncoder": "tile_encoder",
    "build_network": "architectures",
    "check_golden_tile": "golden_tile",
    "load_encoder": "tile_encoder",
    "load_network": "tile_encoder",
    "load_published": "published",
    "read_golden_tiles": "golden_tile",
    "read_published": "published",
    "read_weights": "weight_files",
    "check_state": "weights",
    "state_digest": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
