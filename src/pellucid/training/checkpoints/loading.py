"""Taking over the state of one checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.training.checkpoints.errors import CheckpointFailed, CheckpointUnfit, CheckpointUnreadable
from pellucid.training.checkpoints.hashing import forget_cached
from pellucid.training.checkpoints.reading import verify
from pellucid.training.checkpoints.saving import STRUCTURE
from pellucid.training.checkpoints.shards import first_difference, read_shards
from pellucid.training.checkpoints.structure import dissect, put_together
from pellucid.training.checkpoints.targets import targets, with_versions
from pellucid.training.checkpoints.together import agreed, on_first
from pellucid.training.ranks import Ranks
from pellucid.training.task import Stateful


def take_over(folder: Path, parts: Mapping[str, Stateful], ranks: Ranks) -> None:
    """Load a verified checkpoint into the parts. Collective.

    Raises:
        CheckpointUnfit: it is of other parts; the first difference is named.
        CheckpointUnreadable: some rank couldn't read it.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    try:
        trees, wanted = agreed(ranks, lambda: _wanted(folder, parts, states))
        agreed(ranks, lambda: read_shards(folder, wanted, ranks))
    except CheckpointFailed as error:
        raise CheckpointUnreadable(f"{folder} can't be read: {error.message}") from error
    agreed(ranks, lambda: _hand_over(parts, states, trees, wanted))


def read_back(folder: Path, parts: Mapping[str, Stateful], ranks: Ranks) -> str | None:
    """What differs between the parts and a checkpoint as the disk has it; None where nothing does. Collective.

    Raises:
        CheckpointFailed: it can't be read.
    """
    problem = on_first(ranks, lambda: _problem_on_disk(folder))
    if problem is not None:
        return problem
    _, tensors = dissect({name: part.state_dict() for name, part in parts.items()})
    differs = agreed(ranks, lambda: first_difference(folder, tensors, ranks))
    return None if differs is None else f"{differs} differs"


def _problem_on_disk(folder: Path) -> str | None:
    forget_cached(folder)
    return verify(folder).problem


def _wanted(
    folder: Path, parts: Mapping[str, Stateful], states: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    trees: dict[str, Any] = json.loads((folder / STRUCTURE).read_bytes())
    if trees.keys() != parts.keys():
        raise CheckpointUnfit(
            f"The checkpoint holds {', '.join(sorted(trees))}; this training holds {', '.join(sorted(parts))}."
        )
    wanted: dict[str, Tensor] = {}
    for name, part in parts.items():
        wanted |= targets(name, part, states[name], trees[name])
    return trees, wanted


def _hand_over(
    parts: Mapping[str, Stateful], states: Mapping[str, Any], trees: Mapping[str, Any], loaded: Mapping[str, Tensor]
) -> None:
    for name, part in parts.items():
        state = with_versions(part, states[name], put_together(trees[name], loaded))
        try:
            part.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointUnfit(f"The part {name!r} doesn't take the checkpoint's state: {error}.") from error
