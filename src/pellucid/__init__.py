"""Pellucid: honest biomarker answers from whole-slide pathology images. Research use only.

The whole public surface for scientists; everything is imported when it is first used, torch only where it must be.

    import pellucid

    trusted = pellucid.load_trusted_keys(["keys/"])
    bundle = pellucid.load_bundle("bundle/", trusted)
    answer = pellucid.score("slide.svs", bundle)
    print(answer.posterior.probability, answer.posterior.low, answer.posterior.high)
"""

from typing import TYPE_CHECKING, Any

from pellucid._version import __version__

if TYPE_CHECKING:
    from pellucid.bundle import load_bundle, load_trusted_keys
    from pellucid.cohort import read_cohort, synthesise
    from pellucid.core.errors import PellucidError
    from pellucid.pipeline import explain_specimen, score
    from pellucid.records import open_records
    from pellucid.slides import find_tissue, open_slide
    from pellucid.training import train_bundle

__all__ = [
    "PellucidError",
    "__version__",
    "explain_specimen",
    "find_tissue",
    "load_bundle",
    "load_trusted_keys",
    "open_records",
    "open_slide",
    "read_cohort",
    "score",
    "synthesise",
    "train_bundle",
]

_ROOMS = {
    "PellucidError": "core.errors",
    "explain_specimen": "pipeline",
    "find_tissue": "slides",
    "load_bundle": "bundle",
    "load_trusted_keys": "bundle",
    "open_records": "records",
    "open_slide": "slides",
    "read_cohort": "cohort",
    "score": "pipeline",
    "synthesise": "cohort",
    "train_bundle": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'pellucid' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"pellucid.{_ROOMS[name]}"), name)
