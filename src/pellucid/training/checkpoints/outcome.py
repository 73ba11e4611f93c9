"""What came of saving and of loading."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What came of a save, the same on every rank.

    `seconds` is how long the training stood still, `phases` where they went on this rank. Where `error` is set nothing
    was committed: the training goes on, and the caller raises the alarm. `unpruned` tells why old checkpoints could not
    be removed.
    """

    step: int
    seconds: float
    n_bytes: int = 0
    folder: Path | None = None
    error: str | None = None
    unpruned: str | None = None
    phases: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was loaded, the same on every rank.

    `rejected` are names and faults of newer checkpoints that were not whole, `forced` names what differs of config,
    software and cohort.
    """

    step: int
    folder: Path
    rejected: tuple[tuple[str, str], ...]
    forced: tuple[str, ...]
    extra: dict[str, Any]
    score: float | None
    created: str
