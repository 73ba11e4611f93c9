"""The configuration of a LongNet slide encoder, readable without torch."""

import math
from dataclasses import dataclass
from typing import Final

from pellucid.aggregators.errors import LongNetConfigInvalid

N_BRANCHES: Final = 5
SHORTEST_SEGMENT: Final = 1024


def segment_lengths(max_wsi_px: int = 262_144, tile_px: int = 256) -> tuple[int, ...]:
    """Segment lengths of the five branches, in tokens, for slides of up to `max_wsi_px` pixels a side.

    Evenly spaced in the logarithm from 1024 to the number of tiles of the largest slide, rounded down.

    Raises:
        LongNetConfigInvalid: the largest slide has no more tiles than the shortest segment.
    """
    most_tiles = (max_wsi_px // tile_px) ** 2
    if most_tiles < SHORTEST_SEGMENT:
        raise LongNetConfigInvalid(f"A slide of {max_wsi_px} px has {most_tiles} tiles of {tile_px} px: too few.")
    first, last = math.log2(SHORTEST_SEGMENT), int(math.log2(most_tiles))
    step = (last - first) / (N_BRANCHES - 1)
    return tuple(int(2 ** (first + branch * step)) for branch in range(N_BRANCHES))


@dataclass(frozen=True, slots=True, kw_only=True)
class LongNetConfig:
    """Widths, depth and attention branches; the default is Prov-GigaPath's `gigapath_slide_enc12l768d`.

    Attributes:
        input_dim: width of a tile embedding.
        dim: width of a token, a multiple of `heads` and of 4 (sine and cosine of two directions).
        depth: number of layers.
        heads: attention heads.
        ffn_dim: width of the feed-forward layer.
        segments: segment length of each branch, in tokens.
        ratios: dilation of each branch: a head sees every `ratio`-th token of its segment.
        tile_px: side of a tile, in pixels at `mpp`, which is the step of the positions.
        mpp: scale of the coordinates, um/px.
        grids: positions along each side of the square table of positions.
        inner_eps: epsilon of the layer norms inside of the encoder.
        outer_eps: epsilon of the last layer norm.

    Raises:
        LongNetConfigInvalid: a value below 1, branches without a ratio, or widths that can't be divided.
    """

    input_dim: int = 1536
    dim: int = 768
    depth: int = 12
    heads: int = 16
    ffn_dim: int = 3072
    segments: tuple[int, ...] = segment_lengths()
    ratios: tuple[int, ...] = (1, 2, 4, 8, 16)
    tile_px: int = 256
    mpp: float = 0.5
    grids: int = 1000
    inner_eps: float = 1e-5
    outer_eps: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("input_dim", "dim", "depth", "heads", "ffn_dim", "tile_px", "grids"):
            if getattr(self, name) < 1:
                raise LongNetConfigInvalid(f"{name} is {getattr(self, name)}; at least 1 is needed.")
        if self.dim % self.heads or self.dim % 4:
            raise LongNetConfigInvalid(f"dim {self.dim} is no multiple of {self.heads} heads and of 4.")
        if not self.segments or len(self.segments) != len(self.ratios) or min(*self.segments, *self.ratios) < 1:
            raise LongNetConfigInvalid(f"Segments {self.segments} and ratios {self.ratios} don't make up branches.")


GIGAPATH_SLIDE: Final = LongNetConfig()
"""Prov-GigaPath's slide encoder: 12 layers of 768, 86,330,880 parameters."""
