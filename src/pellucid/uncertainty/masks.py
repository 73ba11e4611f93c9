"""Dropout masks as a pure function of model, layer and pass."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators.config import GatedAttentionConfig
from pellucid.core.seeds import generator

MASK_SCHEME = "philox-channel/1"
"""Names how masks come about; a change of it is a change of the model digest."""

Masks = Mapping[str, NDArray[np.bool_]]
"""The kept channels of each dropout site, `(width,) bool`; a network without dropout has None in their place."""

_SHIFT = np.uint64(11)
_UNIT = 2.0**-53


def keep_mask(model: str, layer: str, pass_index: int, width: int, rate: float) -> NDArray[np.bool_]:
    """Which channels of a layer one pass keeps: `(width,) bool`.

    The key holds neither scan, device nor batch, so that pass t is one network for every tile, slide and scan: masks
    drawn anew for each tile or scan would average out, and the spread would measure the amount of tissue instead.

    Args:
        model: the model digest.
        layer: the dropout site, one of `GatedAttentionConfig.sites`.
        pass_index: the pass, from 0.
        width: number of channels.
        rate: probability that a channel is dropped.
    """
    if rate == 0:
        return np.ones(width, dtype=np.bool_)
    # raw words: NumPy promises their stream for ever, that of Generator.random only within a version
    words = generator(model, layer, pass_index).bit_generator.random_raw(width)
    uniform = (words >> _SHIFT) * _UNIT
    return np.asarray(uniform >= rate, dtype=np.bool_)


def pass_masks(model: str, config: GatedAttentionConfig, pass_index: int) -> dict[str, NDArray[np.bool_]]:
    """The masks of one pass, by dropout site."""
    return {layer: keep_mask(model, layer, pass_index, width, rate) for layer, (width, rate) in config.sites.items()}
