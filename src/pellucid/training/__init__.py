"""Floor 4: from a cohort to a signed model bundle. Torch is imported with `train_bundle`, not before."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.training.config import (
    BagsTraining,
    CheckpointPolicy,
    EncoderTraining,
    EndToEndTraining,
    HeadTraining,
    Limits,
    Mode,
    Precision,
    TrainingConfig,
)
from pellucid.training.config_file import load_config
from pellucid.training.errors import (
    CohortUntrainable,
    EncoderNeeded,
    RanksInvalid,
    RunFolderTaken,
    ScanUnfit,
    SlidesUnusable,
    TrainingConfigInvalid,
    TrainingDiverged,
    TrainingInterrupted,
)
from pellucid.training.scans import Progress

if TYPE_CHECKING:
    from pellucid.training.train import train_bundle

__all__ = [
    "BagsTraining",
    "CheckpointPolicy",
    "CohortUntrainable",
    "EncoderNeeded",
    "EncoderTraining",
    "EndToEndTraining",
    "HeadTraining",
    "Limits",
    "Mode",
    "Precision",
    "Progress",
    "RanksInvalid",
    "RunFolderTaken",
    "ScanUnfit",
    "SlidesUnusable",
    "TrainingConfig",
    "TrainingConfigInvalid",
    "TrainingDiverged",
    "TrainingInterrupted",
    "load_config",
    "train_bundle",
]


def __getattr__(name: str) -> Any:
    if name != "train_bundle":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.train").train_bundle
