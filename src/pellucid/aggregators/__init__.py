"""Floor 2: from the tile embeddings of a scan to one logit and the attention behind it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.aggregators.config import GatedAttentionConfig
    from pellucid.aggregators.gated_attention import GatedAttention, HeadOutput
    from pellucid.aggregators.loading import load_head

__all__ = ["GatedAttention", "GatedAttentionConfig", "HeadOutput", "load_head"]

_HOMES = {
    "GatedAttention": "gated_attention",
    "GatedAttentionConfig": "config",
    "HeadOutput": "gated_attention",
    "load_head": "loading",
}


def __getattr__(name: str) -> Any:
    # torch costs seconds: it is loaded with the first name that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
