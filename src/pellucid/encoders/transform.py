"""From a tile's pixels to what the network sees, as the spec says and in no other way."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.domain.encoder import EncoderSpec


def normalise(pixels: NDArray[np.uint8], spec: EncoderSpec, *, device: torch.device | str = "cpu") -> Tensor:
    """Crop tiles to `spec.input_px` around their centre, scale to [0, 1] and normalise by mean and std.

    Tiles are read at the spec's um/px, so nothing is resized here: a network that wants another scale says so
    in its spec's `mpp`.

    Args:
        pixels: `(b, tile_px, tile_px, 3) uint8` RGB.
        spec: whose `input_px`, `mean` and `std` apply.
        device: where the arithmetic is done and the result lies.

    Returns:
        `(b, 3, input_px, input_px) float32`, channels last in memory.
    """
    margin = (spec.tile_px - spec.input_px) // 2
    cropped = pixels[:, margin : margin + spec.input_px, margin : margin + spec.input_px]
    scale = 1.0 / (255.0 * np.asarray(spec.std, dtype=np.float64))
    shift = -np.asarray(spec.mean, dtype=np.float64) / np.asarray(spec.std, dtype=np.float64)
    tiles = torch.from_numpy(np.ascontiguousarray(cropped)).to(device).to(torch.float32)
    tiles.mul_(torch.from_numpy(scale.astype(np.float32)).to(device))
    tiles.add_(torch.from_numpy(shift.astype(np.float32)).to(device))
    return tiles.permute(0, 3, 1, 2)


def read_picture(path: Path, *, resize_px: int, tile_px: int) -> NDArray[np.uint8]:
    """A square picture as a tile: resized by bicubic interpolation, then its middle cut out.

    These are torchvision's `Resize(resize_px, BICUBIC)` and `CenterCrop(tile_px)` on a picture that Pillow opened.

    Args:
        path: a picture.
        resize_px: edge after the resize.
        tile_px: edge that is cut out, at most `resize_px`.

    Returns:
        `(tile_px, tile_px, 3) uint8` RGB.

    Raises:
        OSError: no picture.
        ValueError: the picture is not square.
    """
    from PIL import Image

    with Image.open(path) as picture:
        if picture.width != picture.height:
            raise ValueError(f"{path.name} is {picture.width} x {picture.height}, not square")
        resized = picture.convert("RGB").resize((resize_px, resize_px), Image.Resampling.BICUBIC)
    margin = round((resize_px - tile_px) / 2)
    cut = np.asarray(resized, dtype=np.uint8)[margin : margin + tile_px, margin : margin + tile_px]
    return np.ascontiguousarray(cut)
