"""The heads of an ensemble in one file, their parameters' names led by the head's number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def ensemble_to_bytes(states: "Sequence[Mapping[str, Tensor]]") -> bytes:
    """A safetensors file with the keys `<n>.<parameter>`, n from 0."""
    from safetensors.torch import save

    named = {f"{n}.{name}": tensor for n, state in enumerate(states) for name, tensor in state.items()}
    return bytes(save(named))


def ensemble_from_bytes(data: bytes) -> tuple[dict[str, NDArray[Any]], ...]:
    """The states that `ensemble_to_bytes` wrote, without torch.

    Raises:
        ValueError: not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except (SafetensorError, KeyError) as error:
        # a type that NumPy doesn't know is a KeyError
        raise ValueError(f"it holds no arrays: {error}") from error
    states: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(".")
        states.setdefault(number, {})[name] = array
    expected = [str(number) for number in range(len(states))]
    if not states or set(states) != set(expected):
        raise ValueError(f"it holds the heads {', '.join(sorted(states)) or '(none)'}, not 0 to n - 1")
    return tuple(states[number] for number in expected)


def not_of_one_kind(head: Mapping[str, Any], ensemble: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say which states of an ensemble have other parameters, or other shapes, than the main head."""
    expected = {name: tuple(value.shape) for name, value in head.items()}
    for number, state in enumerate(ensemble):
        if {name: tuple(value.shape) for name, value in state.items()} != expected:
            yield f"head {number} of the ensemble has other parameters than the main head"
