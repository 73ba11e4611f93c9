"""From a chunk's pixels to what the encoder sees, the same as at inference but for the augmentation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.seeds import generator
from pellucid.domain.encoder import EncoderSpec
from pellucid.training.joint.augmentation import TileChanges, change


class TileInputs:
    """Makes the encoder's input of one chunk, always of the same shape.

    Missing tiles repeat the chunk's own: unlike a black one's, their gradient is known to be finite. Tiles travel to an
    accelerator as bytes; all else is done there.

    Args:
        spec: whose transform applies.
        chunk: tiles in a chunk.
        device: where the encoder is.
        dtype: what the encoder takes, float32 or float64.
    """

    def __init__(self, spec: EncoderSpec, chunk: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self._spec, self._chunk, self._device, self._dtype = spec, chunk, device, dtype

    def __call__(self, pixels: NDArray[np.uint8], changes: TileChanges | None) -> Tensor:
        """The input for up to a chunk of tiles.

        Args:
            pixels: `(b, tile_px, tile_px, 3)`, 1 <= b <= chunk.
            changes: those of the same tiles; None leaves them as they are.

        Returns:
            `(chunk, 3, input_px, input_px)`, normalised.
        """
        tiles = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
        if changes is not None:
            tiles = change(tiles, changes)
        if len(tiles) < self._chunk:
            tiles = tiles[torch.arange(self._chunk, device=self._device) % len(tiles)]
        return normalised(tiles, self._spec).to(self._dtype)

    def stand_in(self) -> Tensor:
        """An input for a rank that has no tile: noise, as an even colour has no spread, whose root has no slope."""
        edge = self._spec.tile_px
        return self(generator("joint-stand-in").integers(0, 256, (1, edge, edge, 3), dtype=np.uint8), None)


def normalised(tiles: Tensor, spec: EncoderSpec) -> Tensor:
    """What `encoders.transform.normalise` makes of the same tiles, to the bit, from tiles that are a tensor already.

    Args:
        tiles: `(b, tile_px, tile_px, 3) uint8`.
        spec: whose `input_px`, `mean` and `std` apply.

    Returns:
        `(b, 3, input_px, input_px) float32`, channels last in memory.
    """
    margin = (spec.tile_px - spec.input_px) // 2
    cropped = tiles[:, margin : margin + spec.input_px, margin : margin + spec.input_px].contiguous()
    scale = torch.tensor([1 / (255 * std) for std in spec.std], dtype=torch.float32, device=tiles.device)
    pairs = zip(spec.mean, spec.std, strict=True)
    shift = torch.tensor([-mean / std for mean, std in pairs], dtype=torch.float32, device=tiles.device)
    return cropped.to(torch.float32).mul_(scale).add_(shift).permute(0, 3, 1, 2)
