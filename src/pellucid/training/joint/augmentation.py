"""How tiles are changed in training: mirrored, turned by right angles, slightly blurred, as in EAGLE.

What happens to a tile is a function of (seed, step, tile): both passes of a step see the same pixels, whichever rank
encodes the tile and whatever else is in its chunk.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.seeds import generator

_BLURRED = 0.5
_SIGMA_PX = (0.1, 1.0)
_TAPS = 5


@dataclass(frozen=True, slots=True, eq=False)
class TileChanges:
    """What happens to each of m tiles.

    `symmetry` is `(m, 3) bool`: whether to mirror left to right, mirror top to bottom, and swap rows with columns;
    together these make the eight symmetries of a square. `sigma_px` is `(m,) float32`, the blur; zero is none.
    """

    symmetry: NDArray[np.bool_]
    sigma_px: NDArray[np.float32]

    def __getitem__(self, rows: slice) -> "TileChanges":
        """Those of some of the tiles."""
        return TileChanges(self.symmetry[rows], self.sigma_px[rows])


def draw_changes(seed: int, step: int, tile_ids: NDArray[np.int64]) -> TileChanges:
    """Draw what happens to each tile, keyed by (seed, step, tile).

    Args:
        seed: of the training.
        step: of the training.
        tile_ids: `(m,)`, what tells a slide's tiles apart, such as their index in its grid.
    """
    chance = np.stack([generator("joint-tile", seed, step, int(tile)).random(5) for tile in tile_ids] or [np.empty(5)])
    chance = chance[: len(tile_ids)]
    low, high = _SIGMA_PX
    sigma = np.where(chance[:, 3] < _BLURRED, low + (high - low) * chance[:, 4], 0)
    return TileChanges(chance[:, :3] < 0.5, sigma.astype(np.float32))


def change(pixels: Tensor, changes: TileChanges) -> Tensor:
    """Apply changes to tiles, where the tiles are.

    Host and accelerator round a blurred pixel differently, by two levels of 255 at most.

    Args:
        pixels: `(m, h, h, 3) uint8`.
        changes: those of the same m tiles.

    Returns:
        `(m, h, h, 3) uint8`.
    """
    if pixels.device.type == "cpu":
        return torch.from_numpy(changed_on_host(pixels.numpy(), changes))
    return changed_on_accelerator(pixels, changes)


def changed_on_host(pixels: NDArray[np.uint8], changes: TileChanges) -> NDArray[np.uint8]:
    """`change`, tile after tile: ten times faster on a CPU."""
    changed = np.empty_like(pixels)
    for tile, made, (mirrored, upended, swapped), sigma in zip(
        pixels, changed, changes.symmetry, changes.sigma_px, strict=True
    ):
        tile = tile[:, ::-1] if mirrored else tile
        tile = tile[::-1] if upended else tile
        made[:] = tile.swapaxes(0, 1) if swapped else tile
        if sigma:
            made[:] = cv2.GaussianBlur(made, (_TAPS, _TAPS), float(sigma), borderType=cv2.BORDER_REFLECT_101)
    return changed


def changed_on_accelerator(pixels: Tensor, changes: TileChanges) -> Tensor:
    """`change`, all tiles at once: few kernels for a whole chunk."""
    mirrored, upended, swapped = (
        torch.from_numpy(column.copy()).to(pixels.device)[:, None, None, None] for column in changes.symmetry.T
    )
    pixels = torch.where(mirrored, pixels.flip(2), pixels)
    pixels = torch.where(upended, pixels.flip(1), pixels)
    pixels = torch.where(swapped, pixels.transpose(1, 2), pixels)
    rows = np.flatnonzero(changes.sigma_px)
    if len(rows):
        chosen = torch.from_numpy(rows).to(pixels.device)
        pixels[chosen] = _blurred(pixels[chosen], torch.from_numpy(changes.sigma_px[rows]).to(pixels.device))
    return pixels


def _blurred(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each tile by its own sigma; the border is mirrored."""
    offsets = torch.arange(_TAPS, device=pixels.device) - _TAPS // 2
    kernel = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[:, :, None, None, None]
    made = pixels.float()
    for axis in (1, 2):
        last = pixels.shape[axis] - 1
        places = torch.arange(last + 1, device=pixels.device)
        mirrored = [last - (last - (places + offset).abs()).abs() for offset in range(-(_TAPS // 2), _TAPS // 2 + 1)]
        # weighted by hand: a grouped convolution would choose its kernel, and its bits, by the number of tiles
        given, made = made, torch.zeros_like(made)
        for tap, rows in enumerate(mirrored):
            made.add_(kernel[:, tap] * given.index_select(axis, rows))
    return made.round_().clamp_(0, 255).to(torch.uint8)
