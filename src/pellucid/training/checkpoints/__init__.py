"""Checkpoints that survive kills, full disks and flipped bits, and the lock that keeps a run folder to one writer.

`reading` and the lock need no torch; it is loaded with `Checkpoints`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pellucid.training.checkpoints.errors import (
    CheckpointDamaged,
    CheckpointFailed,
    CheckpointForeign,
    CheckpointsInvalid,
    CheckpointUnfit,
    CheckpointUnreadable,
    RunLocked,
    RunLockLost,
)
from pellucid.training.checkpoints.interval import Interval
from pellucid.training.checkpoints.lock import RunLock, read_owner
from pellucid.training.checkpoints.manifest import Manifest, RunIdentity, read_manifest
from pellucid.training.checkpoints.outcome import Loaded, Saved
from pellucid.training.checkpoints.owner import Owner
from pellucid.training.checkpoints.reading import (
    Verdict,
    list_checkpoints,
    newest_valid,
    task_folders,
    verdicts,
    verify,
)
from pellucid.training.checkpoints.retention import Retention

if TYPE_CHECKING:
    from pellucid.training.checkpoints.store import Checkpoints

__all__ = [
    "CheckpointDamaged",
    "CheckpointFailed",
    "CheckpointForeign",
    "CheckpointUnfit",
    "CheckpointUnreadable",
    "Checkpoints",
    "CheckpointsInvalid",
    "Interval",
    "Loaded",
    "Manifest",
    "Owner",
    "Retention",
    "RunIdentity",
    "RunLock",
    "RunLockLost",
    "RunLocked",
    "Saved",
    "Verdict",
    "list_checkpoints",
    "newest_valid",
    "read_manifest",
    "read_owner",
    "task_folders",
    "verdicts",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name != "Checkpoints":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.store").Checkpoints
