"""The spec of the small encoder that Pellucid trains itself."""

from dataclasses import replace
from typing import Final

from pellucid.domain.encoder import EncoderSpec

SMALL_SPEC: Final = EncoderSpec(
    id="pellucid-small",
    architecture="small-conv",
    weights_digest="",
    tile_px=224,
    mpp=0.5,
    input_px=224,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    dim=192,
    batch_size=32,
    licence="Apache-2.0, trained on synthetic data by this repository",
    scope="demonstration only, synthetic",
)
"""Everything of the small encoder's spec but its weights: `weights_digest` is empty."""


def small_spec(weights_digest: str) -> EncoderSpec:
    """The small encoder's spec with the weights of this digest (see `state_digest`)."""
    return replace(SMALL_SPEC, weights_digest=weights_digest)
