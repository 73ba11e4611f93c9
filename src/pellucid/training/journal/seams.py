"""What a journal asks of others: who they are doesn't matter to it, and none of them brings torch in."""

# ruff: noqa: D102 - the fields of the protocols are described where they are made

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pellucid.training.journal.status import TrainingStatus


class Writes(Protocol):
    """What a journal asks of `training.ranks.Ranks`."""

    @property
    def is_first(self) -> bool: ...


class Saved(Protocol):
    """What a journal asks of `training.checkpoints.Saved`."""

    @property
    def step(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def n_bytes(self) -> int: ...
    @property
    def error(self) -> str | None: ...


class Loaded(Protocol):
    """What a journal asks of `training.checkpoints.Loaded`."""

    @property
    def step(self) -> int: ...
    @property
    def folder(self) -> Path: ...
    @property
    def rejected(self) -> Sequence[tuple[str, str]]: ...
    @property
    def forced(self) -> Sequence[str]: ...


class Telling(Protocol):
    """Whoever shows the training to a person; called by the watch's thread too."""

    def show(self, status: TrainingStatus) -> None:
        """The training, about once a second."""

    def say(self, text: str) -> None:
        """A sentence about something that happened."""
