"""From a tile's pixels to what the network sees, as the spec says and in no other way."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.domain.encoder import EncoderSpec


def normalise(pixels: NDArray[np.uint8], spec: EncoderSpec) -> Tensor:
    """Crop tiles to `spec.input_px` around their centre, scale to [0, 1] and normalise by mean and std.

    Tiles are read at the spec's um/px, so nothing is resized here: a network that wants another scale says so
    in its spec's `mpp`.

    Args:
        pixels: `(b, tile_px, tile_px, 3) uint8` RGB.
        spec: whose `input_px`, `mean` and `std` apply.

    Returns:
        `(b, 3, input_px, input_px) float32`, channels last in memory.
    """
    margin = (spec.tile_px - spec.input_px) // 2
    cropped = pixels[:, margin : margin + spec.input_px, margin : margin + spec.input_px]
    scale = 1.0 / (255.0 * np.asarray(spec.std, dtype=np.float64))
    shift = -np.asarray(spec.mean, dtype=np.float64) / np.asarray(spec.std, dtype=np.float64)
    tiles = torch.from_numpy(np.ascontiguousarray(cropped)).to(torch.float32)
    tiles.mul_(torch.from_numpy(scale.astype(np.float32))).add_(torch.from_numpy(shift.astype(np.float32)))
    return tiles.permute(0, 3, 1, 2)
