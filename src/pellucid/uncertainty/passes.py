"""The Monte-Carlo passes of a bag: dropout in trunk, gate and head, every pass one network for all tiles."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.gated_attention import GatedAttention, check_bag_shape
from pellucid.uncertainty.errors import BagNonFinite, BagPrecisionMismatch, LogitNonFinite, TooFewPasses
from pellucid.uncertainty.masks import pass_masks
from pellucid.uncertainty.thinned import ThinnedHead, thin

CHUNK_TILES = 1024
"""Tiles that go through all passes at once; part of what makes the bits, so it is no option."""

_EXPONENT = np.uint16(0x7C00)
"""The exponent bits of a float16: all set in NaN and infinity, and only there."""

_THREADS = threading.Lock()

_Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passes:
    """What the passes say of one bag.

    Attributes:
        logits: `(n_passes,) float64`, the raw logit of each pass.
        dropout_free_logit: the logit of the full head, the plain answer to hold the passes against.
        attention_mean: `(n_tiles,) float32`, mean over the passes of each tile's attention; sums to one.
        attention_sd: `(n_tiles,) float32`, its standard deviation over the passes, with n - 1.
        embedding: `(trunk_dim,) float32`, the pooled vector of the full head.
    """

    logits: NDArray[np.float64]
    dropout_free_logit: float
    attention_mean: NDArray[np.float32]
    attention_sd: NDArray[np.float32]
    embedding: NDArray[np.float32]


Sampler = Callable[[NDArray[np.float16]], Passes]
"""Any source of passes for a bag: `functools.partial(run_passes, head, model=...)`, later an ensemble of heads."""


def run_passes(head: GatedAttention, features: NDArray[np.float16], *, model: str, n_passes: int = 50) -> Passes:
    """Run the Monte-Carlo passes of a bag.

    The first layer is shared by all passes; behind it each pass runs on its thinned weights, in chunks of tiles, with
    the softmax put together from the chunks. Beside the bag this takes about 1.5 KB a tile, the thinned weights
    (62 MB for a 1536-512-384 head and 50 passes) and 20 MB of buffers. The same call gives the same bits on the same
    kind of processor, whatever the number of threads, the order of calls and the other bags: on a CPU it runs on one
    thread, one call at a time. No generator is read or advanced, and the head is only read: its training flag makes
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
    _check_bag(features, head)
    with _one_thread(), torch.inference_mode():
        networks = [thin(head, None), *(thin(head, pass_masks(model, head.config, index)) for index in range(n_passes))]
        scores, sums = _attend(head, networks, features)
    return _put_together(networks, scores, sums)


@contextmanager
def _one_thread() -> Iterator[None]:
    # how a product is split between threads decides its last bits; torch's setting is one for the whole process
    with _THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _check_bag(features: NDArray[np.float16], head: GatedAttention) -> None:
    check_bag_shape(features.shape, head.config)
    if features.dtype != np.float16:
        raise BagPrecisionMismatch(f"The embeddings are {features.dtype}.")
    broken = sum(_broken_tiles(features[start : start + CHUNK_TILES]) for start in range(0, len(features), CHUNK_TILES))
    if broken:
        raise BagNonFinite(f"{broken} of {len(features)} tile embeddings hold NaN or infinity.")


def _broken_tiles(features: NDArray[np.float16]) -> int:
    # the integer view is several times faster than numpy.isfinite, which converts every float16
    return int(((features.view(np.uint16) & _EXPONENT) == _EXPONENT).any(axis=1).sum())


def _attend(
    head: GatedAttention, networks: Sequence[ThinnedHead], features: NDArray[np.float16]
) -> tuple[_Floats, _Floats]:
    """The attention logits `(n_networks, n_tiles)` and each chunk's sums `(n_chunks, n_networks, trunk_dim)`.

    A sum is of the trunk's outputs, weighted by the exponentials of the chunk's logits less their own maximum.
    """
    starts = range(0, len(features), CHUNK_TILES)
    dtype = head.trunk1.weight.new_empty(0).cpu().numpy().dtype
    scores = np.empty((len(networks), len(features)), dtype)
    sums = np.empty((len(starts), len(networks), head.config.trunk_dim), dtype)
    for chunk, start in enumerate(starts):
        tiles = slice(start, start + CHUNK_TILES)
        scores[:, tiles], sums[chunk] = _attend_chunk(head, networks, features[tiles])
    return scores, sums


def _attend_chunk(
    head: GatedAttention, networks: Sequence[ThinnedHead], features: NDArray[np.float16]
) -> tuple[_Floats, _Floats]:
    hidden = _first_layer(head, features)
    scores = hidden.new_empty(len(networks), hidden.shape[1])
    sums = hidden.new_zeros(len(networks), hidden.shape[0])
    for row, network in enumerate(networks):
        trunk, scores[row] = network.attend(hidden)
        sums[row, network.trunk2] = trunk @ torch.exp(scores[row] - scores[row].max())
    return scores.cpu().numpy(), sums.cpu().numpy()


def _first_layer(head: GatedAttention, features: NDArray[np.float16]) -> Tensor:
    weight = head.trunk1.weight
    # the conversion lands in torch's own aligned memory: where a matrix starts can change the last bits of a product
    tiles = torch.from_numpy(np.ascontiguousarray(features)).to(weight.device).to(weight.dtype)
    return torch.addmm(head.trunk1.bias[:, None], weight, tiles.T).relu_()


def _put_together(networks: Sequence[ThinnedHead], scores: _Floats, sums: _Floats) -> Passes:
    weights = scores.astype(np.float64)
    if not np.isfinite(weights).all():
        raise LogitNonFinite("An attention logit is NaN or infinite.")
    peak = weights.max(axis=1, keepdims=True)
    np.exp(np.subtract(weights, peak, out=weights), out=weights)
    mass = weights.sum(axis=1, keepdims=True)
    pooled = _pool(scores, sums, peak) / mass
    logits = np.sum(pooled * np.stack([network.head_weight for network in networks]), axis=1)
    logits += networks[0].head_bias
    if not np.isfinite(logits).all():
        raise LogitNonFinite(f"{int((~np.isfinite(logits)).sum())} of {len(logits)} logits are NaN or infinite.")
    attention = np.divide(weights, mass, out=weights)[1:]
    return Passes(
        logits=logits[1:],
        dropout_free_logit=float(logits[0]),
        attention_mean=attention.mean(axis=0).astype(np.float32),
        attention_sd=attention.std(axis=0, ddof=1).astype(np.float32),
        embedding=pooled[0].astype(np.float32),
    )


def _pool(scores: _Floats, sums: _Floats, peak: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(sums.shape[1:])
    for chunk, weighted in enumerate(sums):
        own = scores[:, chunk * CHUNK_TILES : (chunk + 1) * CHUNK_TILES].max(axis=1, keepdims=True)
        total += weighted * np.exp(own.astype(np.float64) - peak)
    return total
