"""A LongNet slide encoder from its published file, or an error that names the first weight that differs."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pellucid.aggregators.errors import SlideWeightsAltered, SlideWeightsMismatch, SlideWeightsUnreadable
from pellucid.aggregators.longnet import LongNetSlideEncoder
from pellucid.aggregators.longnet_config import GIGAPATH_SLIDE, LongNetConfig
from pellucid.core.digests import digest_file

WEIGHTS_FILE: Final = "slide_encoder.pth"


def load_slide_encoder(
    path: Path, config: LongNetConfig = GIGAPATH_SLIDE, *, digest: str | None = None
) -> LongNetSlideEncoder:
    """Build a slide encoder with the weights of a local file, in evaluation mode and without gradients.

    The file is read as tensors only: it can't run code.

    Args:
        path: `slide_encoder.pth`, which holds `{"model": state_dict}`.
        config: the configuration that the weights were trained with.
        digest: SHA-256 that the file must have, where one is pinned.

    Raises:
        SlideWeightsUnreadable: the file is missing, truncated, or holds something else.
        SlideWeightsAltered: its digest is not the pinned one.
        SlideWeightsMismatch: a weight is missing, unknown, misshapen, of another type or not finite; the first in the
            network's own order is named, unknown ones after that.
    """
    if digest is not None and _digest(path) != digest:
        raise SlideWeightsAltered(f"{path.name} has the digest {_digest(path)[:12]}, not {digest[:12]}.")
    state = _read(path)
    encoder = LongNetSlideEncoder(config, device="meta")
    expected = encoder.state_dict()
    for name in [*expected, *sorted(state.keys() - expected.keys(), key=str)]:
        problem = _problem(expected.get(name), state.get(name))
        if problem:
            raise SlideWeightsMismatch(f"{path.name} doesn't fit at {name!r}: {problem}.", key=str(name))
    encoder.load_state_dict(state, strict=True, assign=True)
    return encoder.eval().requires_grad_(requires_grad=False)


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError as error:
        raise SlideWeightsUnreadable(f"{path.name} can't be read: {error.strerror}.") from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SlideWeightsUnreadable(f"{path.name} can't be read: {error.strerror or error}.") from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SlideWeightsUnreadable(f"{path.name} is truncated, damaged or no file of weights: {reason}") from error
    if not isinstance(contents, dict) or not isinstance(contents.get("model"), dict):
        held = sorted(map(str, contents))[:5] if isinstance(contents, dict) else type(contents).__name__
        raise SlideWeightsUnreadable(f"{path.name} has no entry 'model' with weights; it holds {held}.")
    state: dict[str, Any] = contents["model"]
    return state


def _problem(wanted: Tensor | None, given: Any) -> str | None:
    if given is None:
        return "it is missing"
    if wanted is None:
        return "a slide encoder has no such weight"
    if not isinstance(given, Tensor):
        return f"it is {type(given).__name__}, no tensor"
    if given.shape != wanted.shape:
        return f"its shape is {tuple(given.shape)}, not {tuple(wanted.shape)}"
    if given.dtype != wanted.dtype:
        return f"its type is {given.dtype}, not {wanted.dtype}"
    if not bool(torch.isfinite(given).all()):
        return "it holds NaN or infinite values"
    return None
