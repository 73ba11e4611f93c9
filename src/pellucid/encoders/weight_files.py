"""Files of weights: found, and read as named tensors without ever running what they hold.

Tensors of `.safetensors` files and of zipped torch files are mapped, not read: their memory is the file's, and so is
the one copy that a network made of them has.
"""

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.encoders.efficientnet import packaged_weights, timm_names
from pellucid.encoders.errors import WeightsMissing, WeightsUnreadable
from pellucid.encoders.registry import EncoderEntry

_ZIP_MAGIC: Final = b"PK\x03\x04"
_MAX_HEADER: Final = 100 << 20


def find_weights(entry: EncoderEntry, path: Path | None) -> Path:
    """The file of an encoder's weights.

    Args:
        entry: the encoder.
        path: the file, or the folder that it lies in under its published name; None where its package has it.

    Raises:
        WeightsMissing: there is no such file.
    """
    if path is None:
        packaged = packaged_weights() if entry.package else None
        if packaged is None:
            place = f"package {entry.package}" if entry.package else entry.hub or "a bundle"
            raise WeightsMissing(f"The weights of {entry.id} are not named; they are published in: {place}.")
        return packaged
    if path.is_dir():
        found = next((path / name for name in entry.files if (path / name).is_file()), None)
        if found is None:
            wanted = " or ".join(entry.files) or "a file of weights"
            raise WeightsMissing(f"The folder {path} holds no {wanted}.")
        return found
    if not path.is_file():
        raise WeightsMissing(f"There is no file {path}.")
    return path


def read_entry_weights(entry: EncoderEntry, path: Path) -> dict[str, Tensor]:
    """Weights of an encoder under the names of its network.

    Raises:
        WeightsUnreadable: see `read_weights`.
    """
    state = read_weights(path)
    return timm_names(state) if entry.spec.architecture == "efficientnet-lite0" else state


def read_weights(path: Path) -> dict[str, Tensor]:
    """Every tensor of a `.safetensors` or torch file by its name.

    Of a torch file only tensors are ever made: anything else in it is refused, and its code never runs.

    Args:
        path: a file; one that isn't named `.safetensors` is a torch file.

    Raises:
        WeightsMissing: there is no such file, or it can't be opened.
        WeightsUnreadable: it is truncated, damaged, or no mapping of names to tensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise WeightsMissing(f"{path} can't be read: {error.strerror}.") from error
    if path.suffix == ".safetensors":
        _check_safetensors(path, size)
        return _read_safetensors(path)
    return _named_tensors(path, _read_torch(path, start, size))


def _check_safetensors(path: Path, size: int) -> None:
    """A file that ends too soon is told from one that is something else, with the first tensor that isn't whole."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _MAX_HEADER:
            raise WeightsUnreadable(f"{path.name} ({size} bytes) is no safetensors file.")
        text = file.read(length)
    if len(text) < length:
        raise WeightsUnreadable(f"{path.name} is truncated: it ends within its header.")
    try:
        ends = {name: row["data_offsets"][1] for name, row in json.loads(text).items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise WeightsUnreadable(f"{path.name} is no safetensors file, or its header is damaged.") from error
    needed = 8 + length + max(ends.values(), default=0)
    if size < needed:
        first = min((end, name) for name, end in ends.items() if 8 + length + end > size)[1]
        raise WeightsUnreadable(
            f"{path.name} is truncated: it has {size} of {needed} bytes, and {first!r} is the first tensor not whole."
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WeightsUnreadable(f"{path.name} is damaged: {error}.") from error


def _read_torch(path: Path, start: bytes, size: int) -> Any:
    zipped = start.startswith(_ZIP_MAGIC)
    if zipped and not zipfile.is_zipfile(path):
        raise WeightsUnreadable(f"{path.name} is truncated: it has {size} bytes, and its end is missing.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise WeightsUnreadable(
            f"{path.name} holds something else than tensors, or is damaged: {_first_line(error)}"
        ) from error
    except (EOFError, RuntimeError, OSError, ValueError, KeyError) as error:
        raise WeightsUnreadable(f"{path.name} is truncated or damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What went wrong; the lines after it are torch's advice to trust the file."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _named_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise WeightsUnreadable(f"{path.name} holds a {type(content).__name__}, not tensors by name.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsUnreadable(f"{path.name} holds a {type(value).__name__} under {name!r}, not a tensor.")
    return dict(content)
