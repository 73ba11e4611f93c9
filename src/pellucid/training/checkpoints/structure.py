"""The state of all parts as a tree of plain values with places for tensors, and back.

torch.distributed.checkpoint saves tensors by name. Everything else (numbers, how things nest, which keys are integers)
is kept here as JSON, which comes back exactly as it was, whatever the state of the process that loads: an optimiser
that has made no step has no tensors yet, and torch's own loading would leave out what it doesn't find there.
"""

import math
import numbers
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

_TENSOR: Final = "tensor"
_MAP: Final = "map"
_TUPLE: Final = "tuple"
_DTYPES: Final = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


def dissect(states: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Take states apart.

    Args:
        states: each part's state by the part's name: dicts, lists, tuples, tensors (or DTensors), numbers, text, None.

    Returns:
        The tree of each part, plain JSON, and the tensors by name: those in use, not copies.

    Raises:
        TypeError: a value could not be brought back exactly; its place is named.
    """
    tensors: dict[str, Tensor] = {}
    return {name: _taken_apart(state, name, tensors) for name, state in states.items()}, tensors


def _taken_apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = path
        while name in tensors:
            name += "~"
        tensors[name] = value
        return {_TENSOR: name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, Mapping):
        return {_MAP: [[_key(key, path), _taken_apart(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_taken_apart(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_taken_apart(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
    return _scalar(value, path)


def _key(key: Any, path: str) -> str | int:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise TypeError(f"{path} has the key {key!r}; only text and integers can be saved as keys")
    return key


def _scalar(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{path} is a {type(value).__name__}; a state holds tensors, numbers, text and nestings of them")


def put_together(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that `dissect` took apart, with these tensors in its places."""
    if isinstance(tree, list):
        return [put_together(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if _TENSOR in tree:
        return tensors[tree[_TENSOR]]
    if _TUPLE in tree:
        return tuple(put_together(item, tensors) for item in tree[_TUPLE])
    return {key: put_together(item, tensors) for key, item in tree[_MAP]}


class Place:
    """A tensor's place in a tree: its name, where it is (`keys`), its shape and type."""

    def __init__(self, node: dict[str, Any], keys: tuple[str | int, ...]) -> None:
        self.name: str = node[_TENSOR]
        self.keys = keys
        self.shape: tuple[int, ...] = tuple(node["shape"])
        self.dtype = _DTYPES[node["dtype"]]

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole tensor, over all ranks."""
        return math.prod(self.shape) * self.dtype.itemsize


def places(tree: Any, keys: tuple[str | int, ...] = ()) -> list[Place]:
    """Every tensor's place in a tree."""
    if isinstance(tree, list):
        pairs: list[tuple[str | int, Any]] = list(enumerate(tree))
    elif not isinstance(tree, dict):
        return []
    elif _TENSOR in tree:
        return [Place(tree, keys)]
    elif _TUPLE in tree:
        pairs = list(enumerate(tree[_TUPLE]))
    else:
        pairs = tree[_MAP]
    return [place for key, item in pairs for place in places(item, (*keys, key))]


def at(state: Any, keys: tuple[str | int, ...]) -> Any:
    """What lies at a place of a state; None where there is nothing."""
    for key in keys:
        try:
            state = state[key]
        except (KeyError, IndexError, TypeError):
            return None
    return state
