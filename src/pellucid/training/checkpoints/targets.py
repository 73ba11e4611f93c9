"""Where the tensors of a checkpoint are read into: those in use where they fit, else new ones."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.training.checkpoints.errors import CheckpointUnfit
from pellucid.training.checkpoints.structure import Place, at, places
from pellucid.training.task import Stateful

_STATE_KEYS = 3


def targets(name: str, part: Stateful, state: Any, tree: Any) -> dict[str, Tensor]:
    """A tensor for each place of a part's tree, of its shape and type and sharded as the part is.

    An optimiser that has made no step gets tensors like its parameters.

    Args:
        name: the part's, for messages.
        part: what is loaded into.
        state: its own state.
        tree: what was saved.

    Raises:
        CheckpointUnfit: a module has other tensors than were saved; the first that differs is named.
    """
    wanted = places(tree)
    if isinstance(part, nn.Module):
        _check_module(name, state, wanted)
    parameters = _parameters(part)
    return {place.name: _target(place, state, parameters) for place in wanted}


def with_versions(part: Stateful, state: Any, loaded: Any) -> Any:
    """A module's state with the versions that its own state carries, by which modules know how to read it."""
    if not isinstance(part, nn.Module):
        return loaded
    ordered = OrderedDict(loaded)
    ordered._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
    return ordered


def _target(place: Place, state: Any, parameters: list[Tensor]) -> Tensor:
    own = at(state, place.keys)
    if isinstance(own, Tensor) and tuple(own.shape) == place.shape and own.dtype == place.dtype:
        return own
    if len(place.keys) == _STATE_KEYS and place.keys[0] == "state":
        index = place.keys[1]
        if isinstance(index, int) and index < len(parameters) and tuple(parameters[index].shape) == place.shape:
            return torch.empty_like(parameters[index].detach(), dtype=place.dtype)
    return torch.empty(place.shape, dtype=place.dtype)


def _parameters(part: Stateful) -> list[Tensor]:
    if not isinstance(part, torch.optim.Optimizer):
        return []
    return [parameter for group in part.param_groups for parameter in group["params"]]


def _check_module(name: str, state: Any, wanted: list[Place]) -> None:
    saved = {place.keys: place for place in wanted}
    own = {(key,): value for key, value in state.items() if isinstance(value, Tensor)}
    for keys in sorted(saved.keys() | own.keys(), key=str):
        if keys not in saved:
            raise CheckpointUnfit(f"The checkpoint lacks {name}.{keys[0]}.")
        if keys not in own:
            raise CheckpointUnfit(f"The checkpoint has {'.'.join(map(str, (name, *keys)))}, which the model lacks.")
        found, here = saved[keys], own[keys]
        if (found.shape, found.dtype) != (tuple(here.shape), here.dtype):
            raise CheckpointUnfit(
                f"{name}.{keys[0]} is {found.shape} {found.dtype} in the checkpoint and {tuple(here.shape)} "
                f"{here.dtype} in the model."
            )
