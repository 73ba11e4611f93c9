"""The Monte-Carlo passes of a bag: dropout in trunk, gate and head, every pass one network for all tiles."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.attending import attend
from pellucid.uncertainty.bags import check_bag
from pellucid.uncertainty.errors import TooFewPasses
from pellucid.uncertainty.masks import pass_masks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """What the passes say of one bag.

    Attributes:
        logits: `(n_passes,) float64`, the raw logit of each pass.
        dropout_free_logit: the logit of the full head, the plain answer to hold the passes against.
        attention_mean: `(n_tiles,) float32`, mean over the passes of each tile's attention; sums to one.
        attention_sd: `(n_tiles,) float32`, its standard deviation over the passes, with n - 1.
        embedding: `(trunk_dim,) float32`, the pooled vector of the full head.
        ensemble_logits: `(n_heads,) float64`, raw logits of an ensemble's heads without dropout; empty without one.
        tumour: `(n_tiles,) float32`, each tile's probability of being tumour; None without a tumour head.
    """

    logits: NDArray[np.float64]
    dropout_free_logit: float
    attention_mean: NDArray[np.float32]
    attention_sd: NDArray[np.float32]
    embedding: NDArray[np.float32]
    ensemble_logits: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    tumour: NDArray[np.float32] | None = None


Sampler = Callable[[NDArray[np.float16]], Passes]
"""Any source of passes for a bag: `functools.partial(run_passes, head, model=...)`, an ensemble, a single network."""


def run_passes(head: GatedAttention, features: NDArray[np.float16], *, model: str, n_passes: int = 50) -> Passes:
    """Run the Monte-Carlo passes of a bag.

    The first layer is shared by all passes; behind it each pass runs on its thinned weights, in chunks of tiles, with
    the softmax put together from the chunks. Where the trunk's dropout rate is 0, the passes share both layers and the
    gates too, and all of them cost hardly more than one. Beside the bag this takes about 1.5 KB a tile, the thinned
    weights (62 MB for a 1536-512-384 head and 50 passes) and 20 MB of buffers. The same call gives the same bits on the
    same kind of processor, whatever the number of threads, the order of calls and the other bags: on a CPU it runs on
    one thread, one call at a time. No generator is read or advanced, and the head is only read: its training flag makes
    no difference.

    Args:
        head: the aggregator, on any device.
        features: `(n_tiles, input_dim) float16`, the bag.
        model: the model digest, which keys the masks.
        n_passes: number of passes, at least 2.

    Raises:
        TooFewPasses: fewer than 2 passes.
        BagPrecisionMismatch: the features aren't float16.
        BagEmpty: the bag has no tile.
        BagShapeMismatch: the bag isn't `(n_tiles, input_dim)`.
        BagNonFinite: an embedding holds NaN or infinity.
        LogitNonFinite: a logit came out as NaN or infinite.
    """
    if n_passes < 2:
        raise TooFewPasses(f"{n_passes} passes were asked for.")
    check_bag(features, head.config.input_dim)
    found = attend(head, [None, *(pass_masks(model, head.config, index) for index in range(n_passes))], features)
    attention = found.attention[1:]
    return Passes(
        logits=found.logits[1:],
        dropout_free_logit=float(found.logits[0]),
        attention_mean=attention.mean(axis=0).astype(np.float32),
        attention_sd=attention.std(axis=0, ddof=1).astype(np.float32),
        embedding=found.pooled[0].astype(np.float32),
    )
