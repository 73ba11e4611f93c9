"""Weights: their digest, and whether they fit a network."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from pellucid.encoders.errors import WeightsUnfit


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes, in the order of names.

    The file they came from doesn't matter: two files with the same tensors have the same digest. At most one tensor is
    copied at a time, and none that is contiguous on the CPU.
    """
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        header = json.dumps([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)])
        total.update(header.encode() + b"\n")
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def check_state(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], *, what: str, finite: bool = True) -> None:
    """Check that `state` has exactly the tensors of `expected`: names, shapes, types, all finite.

    Args:
        expected: the network's own state.
        state: the weights to be loaded.
        what: what the weights are for, for the message.
        finite: whether every value is looked at, too.

    Raises:
        WeightsUnfit: names the first differing key in the order of names, and what differs.
    """
    for name in sorted(expected.keys() | state.keys()):
        problem = _problem(expected.get(name), state.get(name), finite=finite)
        if problem:
            raise WeightsUnfit(f"Weights of {what} don't fit at {name!r}: {problem}.", key=name)


def _problem(wanted: Tensor | None, given: Tensor | None, *, finite: bool) -> str | None:
    if given is None:
        return "it is missing"
    if wanted is None:
        return "the network has no such tensor"
    if given.shape != wanted.shape:
        return f"its shape is {tuple(given.shape)}, not {tuple(wanted.shape)}"
    if given.dtype != wanted.dtype:
        return f"its type is {given.dtype}, not {wanted.dtype}"
    if finite and not _is_finite(given):
        return "it holds NaN or infinite values"
    return None


def _is_finite(tensor: Tensor) -> bool:
    """Its extremes tell, as a NaN is one of them wherever it is; a mask of a large tensor would cost far more."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))
