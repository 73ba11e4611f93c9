"""Encoder and head trained together from slide labels; torch is imported with what needs it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.training.joint.errors import BlocksUnknown, JointSettingsInvalid, JointUnfit, TilesMisplaced
from pellucid.training.joint.outcome import JointOutcome
from pellucid.training.joint.recipe import JointRecipe
from pellucid.training.joint.settings import JointSettings
from pellucid.training.joint.sharding import chunks_of, rows_of
from pellucid.training.joint.weighting import slide_weights

if TYPE_CHECKING:
    from pellucid.training.joint.blocks import trainable_parameters
    from pellucid.training.joint.model import JointModel, freeze_statistics
    from pellucid.training.joint.optimiser import follow, joint_optimiser
    from pellucid.training.joint.step import JointStep

__all__ = [
    "BlocksUnknown",
    "JointModel",
    "JointOutcome",
    "JointRecipe",
    "JointSettings",
    "JointSettingsInvalid",
    "JointStep",
    "JointUnfit",
    "TilesMisplaced",
    "chunks_of",
    "follow",
    "freeze_statistics",
    "joint_optimiser",
    "rows_of",
    "slide_weights",
    "trainable_parameters",
]

_NEEDS_TORCH = {
    "JointModel": "model",
    "JointStep": "step",
    "follow": "optimiser",
    "freeze_statistics": "model",
    "joint_optimiser": "optimiser",
    "trainable_parameters": "blocks",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
