"""Writing a safetensors file tensor by tensor, so that weights of any size need no second copy in memory.

The library's own `save_file` is not used because it reports a full disk as an error of its own, without the operating
system's number, and `save` because it holds the whole file in memory.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor

_TYPES: Final = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "float32": "F32",
    "float64": "F64",
    "int64": "I64",
}
_ALIGNMENT: Final = 8


def write_tensors(path: Path, state: "Mapping[str, Tensor]") -> None:
    """Write tensors by name. Those that share memory, as tied weights do, are each written in full.

    Args:
        path: the file, which is overwritten.
        state: tensors on any device; at most one of them is copied at a time.

    Raises:
        OSError: the file can't be written; what is there of it is incomplete.
        ValueError: a tensor's type has no name in the format.
    """
    import torch

    # the format wants no gaps, and aligned tensors: the widest types come first
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header = _header({name: state[name] for name in names})
    with path.open("wb") as file:
        file.write(len(header).to_bytes(_ALIGNMENT, "little") + header)
        for name in names:
            tensor = state[name].detach().cpu().contiguous()
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _header(state: "Mapping[str, Tensor]") -> bytes:
    rows: dict[str, Any] = {}
    at = 0
    for name, tensor in state.items():
        kind = _TYPES.get(str(tensor.dtype).removeprefix("torch."))
        if kind is None:
            raise ValueError(f"{name!r} has the type {tensor.dtype}, which can't be stored")
        end = at + tensor.numel() * tensor.element_size()
        rows[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(rows, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)
