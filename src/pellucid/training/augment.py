"""Changes of a tile that must not change what is learnt from it: its orientation and its stain."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Stain vectors in optical density, rows haematoxylin, eosin and residual (Ruifrok and Johnston, 2001).
_STAINS = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
_AMOUNT = 0.25
_SHIFT = 0.04
_LIGHT = 0.05


def augment(tiles: NDArray[np.uint8], crop_px: int, generator: torch.Generator) -> Tensor:
    """Cut out a part of each tile, turn, flip and re-stain it, each on its own.

    Re-staining works in optical density: each of the three stains is scaled by up to a quarter and shifted, and the
    light of each colour channel changes a little, as between laboratories and scanners.

    Args:
        tiles: `(b, h, h, 3) uint8` RGB.
        crop_px: edge of the part, at most h.
        generator: the only source of chance.

    Returns:
        `(b, crop_px, crop_px, 3) float32` in [0, 1].
    """
    cut = _crop_and_turn(tiles, crop_px, generator)
    density = _density_table()[torch.from_numpy(cut).long()]
    mixing, shift = _draw_stains(len(tiles), generator)
    density = torch.baddbmm(shift, density.reshape(len(tiles), -1, 3), mixing).reshape(cut.shape)
    return density.neg_().exp_().clamp_(max=1)


@cache
def _density_table() -> Tensor:
    levels = torch.arange(256, dtype=torch.float32)
    return -torch.log((levels + 1) / 256)


def _draw_stains(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each tile the `(3, 3)` matrix and the `(1, 3)` shift that act on optical densities."""
    stains = torch.tensor(_STAINS, dtype=torch.float32)
    stains = stains / stains.norm(dim=1, keepdim=True)
    scales = 1 + _AMOUNT * _uniform((count, 3), generator)
    shifts = _SHIFT * _uniform((count, 3), generator)
    mixing = torch.linalg.inv(stains) @ (scales[:, :, None] * stains)
    shift = shifts @ stains + _LIGHT * _uniform((count, 3), generator)
    return mixing, shift[:, None, :]


def _crop_and_turn(tiles: NDArray[np.uint8], crop_px: int, generator: torch.Generator) -> NDArray[np.uint8]:
    room = tiles.shape[1] - crop_px + 1
    corners = torch.randint(room, (len(tiles), 2), generator=generator).tolist()
    turns = torch.randint(8, (len(tiles),), generator=generator).tolist()
    return np.stack(
        [
            _turn(tile[y : y + crop_px, x : x + crop_px], turn)
            for tile, (y, x), turn in zip(tiles, corners, turns, strict=True)
        ]
    )


def _turn(tile: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    turned = np.rot90(tile, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1
