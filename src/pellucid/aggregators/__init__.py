"""Floor 2: from the tile embeddings of a scan to one logit and the attention behind it, or to a slide embedding."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.aggregators.config import GatedAttentionConfig
    from pellucid.aggregators.gated_attention import GatedAttention, HeadOutput
    from pellucid.aggregators.loading import load_head
    from pellucid.aggregators.longnet import LongNetSlideEncoder
    from pellucid.aggregators.longnet_config import GIGAPATH_SLIDE, LongNetConfig
    from pellucid.aggregators.longnet_hub import fetch_slide_weights
    from pellucid.aggregators.longnet_loading import load_slide_encoder
    from pellucid.aggregators.longnet_positions import rescaled_coords

__all__ = [
    "GIGAPATH_SLIDE",
    "GatedAttention",
    "GatedAttentionConfig",
    "HeadOutput",
    "LongNetConfig",
    "LongNetSlideEncoder",
    "fetch_slide_weights",
    "load_head",
    "load_slide_encoder",
    "rescaled_coords",
]

_HOMES = {
    "GatedAttention": "gated_attention",
    "GatedAttentionConfig": "config",
    "HeadOutput": "gated_attention",
    "load_head": "loading",
    "GIGAPATH_SLIDE": "longnet_config",
    "LongNetConfig": "longnet_config",
    "LongNetSlideEncoder": "longnet",
    "fetch_slide_weights": "longnet_hub",
    "load_slide_encoder": "longnet_loading",
    "rescaled_coords": "longnet_positions",
}


def __getattr__(name: str) -> Any:
    # torch costs seconds: it is loaded with the first name that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
