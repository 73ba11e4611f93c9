"""Weights: their digest, and whether they fit a network."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from pellucid.encoders.errors import WeightsUnfit


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes, in the order of names.

    The file they came from doesn't matter: two files with the same tensors have the same digest.
    """
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        header = json.dumps([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)])
        total.update(header.encode() + b"\n")
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def check_state(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], *, what: str) -> None:
    """Check that `state` has exactly the tensors of `expected`: names, shapes, types, all finite.

    Args:
        expected: the network's own state.
        state: the weights to be loaded.
        what: what the weights are for, for the message.

    Raises:
        WeightsUnfit: names the first differing key in the order of names, and what differs.
    """
    for name in sorted(expected.keys() | state.keys()):
        problem = _problem(expected.get(name), state.get(name))
        if problem:
            raise WeightsUnfit(f"Weights of {what} don't fit at {name!r}: {problem}.", key=name)


def _problem(wanted: Tensor | None, given: Tensor | None) -> str | None:
    if given is None:
        return "it is missing"
    if wanted is None:
        return "the network has no such tensor"
    if given.shape != wanted.shape:
        return f"its shape is {tuple(given.shape)}, not {tuple(wanted.shape)}"
    if given.dtype != wanted.dtype:
        return f"its type is {given.dtype}, not {wanted.dtype}"
    if not bool(torch.isfinite(given).all()):
        return "it holds NaN or infinite values"
    return None
