"""A publisher's golden tile: a picture whose embedding is known, which a loaded encoder must give again."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.encoders.errors import GoldenTileMismatch, GoldenTileUnreadable
from pellucid.encoders.tile_encoder import TileEncoder
from pellucid.encoders.transform import read_picture

TOLERANCE: Final = 1e-2
"""Largest difference of any feature: what the publishers of Prov-GigaPath ask for across machines and precisions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenTile:
    """A picture and its embedding `(dim,) float32`."""

    picture: Path
    expected: NDArray[np.float32]


def read_golden_tiles(folder: Path) -> tuple[GoldenTile, ...]:
    """Every `<name>.png` in a folder with its `<name>.pt`, in the order of names.

    Raises:
        GoldenTileUnreadable: there is none, or an embedding is missing or no tensor.
    """
    pictures = sorted(folder.glob("*.png")) if folder.is_dir() else []
    if not pictures:
        raise GoldenTileUnreadable(f"{folder} holds no golden tile.")
    return tuple(GoldenTile(picture=path, expected=_embedding(path.with_suffix(".pt"))) for path in pictures)


def check_golden_tile(
    encoder: TileEncoder, picture: Path, expected: NDArray[np.float32], *, resize_px: int = 0
) -> float:
    """Embed a golden tile and hold it against its known embedding.

    Args:
        encoder: the encoder.
        picture: the tile, square, of any size.
        expected: `(dim,) float32`.
        resize_px: edge that the picture is resized to before the encoder's tile is cut out of its middle; 0 is the
            encoder's own `tile_px`.

    Returns:
        The largest absolute difference of a feature.

    Raises:
        GoldenTileMismatch: it is more than `TOLERANCE`, or the embeddings differ in length.
        GoldenTileUnreadable: the picture can't be used.
    """
    spec = encoder.spec
    if expected.shape != (spec.dim,):
        raise GoldenTileMismatch(
            f"The golden embedding of {picture.name} has the shape {expected.shape}; {spec.id} gives {spec.dim}."
        )
    try:
        tile = read_picture(picture, resize_px=resize_px or spec.tile_px, tile_px=spec.tile_px)
    except (OSError, ValueError) as error:
        raise GoldenTileUnreadable(f"The golden tile {picture.name} can't be used: {error}.") from error
    away = float(np.abs(encoder.encode(tile[None])[0] - expected).max())
    if not away <= TOLERANCE:
        raise GoldenTileMismatch(
            f"{spec.id} embeds the golden tile {picture.name} up to {away:.3g} away from what its publisher states "
            f"(at most {TOLERANCE:g})."
        )
    return away


def _embedding(path: Path) -> NDArray[np.float32]:
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise GoldenTileUnreadable(f"The golden embedding {path.name} can't be read.") from error
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or value.numel() != value.shape[-1]:
        raise GoldenTileUnreadable(f"The golden embedding {path.name} is no vector.")
    embedding: NDArray[np.float32] = value.reshape(-1).to(torch.float32).numpy()
    return embedding
