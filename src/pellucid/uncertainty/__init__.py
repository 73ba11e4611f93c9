"""Floor 2: Monte-Carlo dropout over the aggregator, reproducible to the bit, and what it is held against."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.uncertainty.digest import model_digest
    from pellucid.uncertainty.ensemble import run_deterministic, run_ensemble
    from pellucid.uncertainty.masks import MASK_SCHEME, keep_mask, pass_masks
    from pellucid.uncertainty.passes import Passes, Sampler, run_passes
    from pellucid.uncertainty.sampler import sample
    from pellucid.uncertainty.tumour import tumour_probability

__all__ = [
    "MASK_SCHEME",
    "Passes",
    "Sampler",
    "keep_mask",
    "model_digest",
    "pass_masks",
    "run_deterministic",
    "run_ensemble",
    "run_passes",
    "sample",
    "tumour_probability",
]

_HOMES = {
    "MASK_SCHEME": "masks",
    "Passes": "passes",
    "Sampler": "passes",
    "keep_mask": "masks",
    "model_digest": "digest",
    "pass_masks": "masks",
    "run_deterministic": "ensemble",
    "run_ensemble": "ensemble",
    "run_passes": "passes",
    "sample": "sampler",
    "tumour_probability": "tumour",
}


def __getattr__(name: str) -> Any:
    # torch costs seconds: it is loaded with the first name that needs it
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
