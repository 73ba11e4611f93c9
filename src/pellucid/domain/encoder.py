"""The encoder spec: all that decides a tile's embedding."""

from dataclasses import dataclass
from enum import StrEnum

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain


class Decoding(StrEnum):
    """How a tile's pixels are made from a compressed scan."""

    FULL_AREA = "full_area"
    """Full resolution, then area resize. Possible for every scan."""
    SCALED_DCT = "scaled_dct"
    """Half resolution by the JPEG decoder, then area resize where the tile isn't of the right size yet.

    A tile that begins at level-0 pixel x, of edge e, is that of half-resolution pixels x // 2 and edge e // 2.
    Only for scans in JPEG tiles of 1.9 to 2.1 times the encoder's resolution; others are refused, never decoded
    another way.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """An encoder, its tile geometry, transform and terms; a change of any field is another encoder.

    `tile_px` and `mpp` give the tile as read; `input_px` is what the network sees after resize and crop.
    `batch_size` is the one batch shape ever run; the last batch is padded. `mpp_tolerance` is relative.
    """

    id: str
    architecture: str
    weights_digest: str
    tile_px: int
    mpp: float
    input_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int
    batch_size: int
    decoding: Decoding = Decoding.FULL_AREA
    precision: str = "float32"
    mpp_tolerance: float = 0.05
    licence: str
    scope: str

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of every field."""
        return digest_json(to_plain(self))
