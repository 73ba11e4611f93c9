"""Putting a bag through several networks, in chunks of tiles, with bits that depend on nothing else."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.bags import chunks
from pellucid.uncertainty.errors import LogitNonFinite
from pellucid.uncertainty.masks import Masks
from pellucid.uncertainty.networks import Networks, networks_of

_THREADS = threading.Lock()

_Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attended:
    """What several networks say of one bag.

    Attributes:
        logits: `(n_networks,) float64`.
        attention: `(n_networks, n_tiles) float64`, each row of which sums to one.
        pooled: `(n_networks, trunk_dim) float64`, the attention-weighted means before dropout's mask and scale.
    """

    logits: NDArray[np.float64]
    attention: NDArray[np.float64]
    pooled: NDArray[np.float64]


def attend(head: GatedAttention, masks: Sequence[Masks | None], features: NDArray[np.float16]) -> Attended:
    """Put a bag through the networks of some masks, on one thread of a CPU, one call at a time.

    Args:
        head: the aggregator, on any device; it is only read.
        masks: the networks, see `networks_of`.
        features: `(n_tiles, input_dim) float16`, a bag that `check_bag` let through.

    Raises:
        LogitNonFinite: a logit came out as NaN or infinite.
    """
    with _one_thread(), torch.inference_mode():
        networks = networks_of(head, masks)
        scores, sums = _in_chunks(head, networks, len(masks), features)
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


def _in_chunks(
    head: GatedAttention, networks: Networks, n_networks: int, features: NDArray[np.float16]
) -> tuple[_Floats, _Floats]:
    """The attention logits `(n_networks, n_tiles)` and each chunk's sums `(n_chunks, n_networks, trunk_dim)`."""
    slices = list(chunks(len(features)))
    dtype = head.trunk1.weight.new_empty(0).cpu().numpy().dtype
    scores = np.empty((n_networks, len(features)), dtype)
    sums = np.empty((len(slices), n_networks, head.config.trunk_dim), dtype)
    for chunk, tiles in enumerate(slices):
        found, weighted = networks.attend(_first_layer(head, features[tiles]))
        scores[:, tiles], sums[chunk] = found.cpu().numpy(), weighted.cpu().numpy()
    return scores, sums


def _first_layer(head: GatedAttention, features: NDArray[np.float16]) -> Tensor:
    weight = head.trunk1.weight
    # the conversion lands in torch's own aligned memory: where a matrix starts can change the last bits of a product
    tiles = torch.from_numpy(np.ascontiguousarray(features)).to(weight.device).to(weight.dtype)
    return torch.addmm(head.trunk1.bias[:, None], weight, tiles.T).relu_()


def _put_together(networks: Networks, scores: _Floats, sums: _Floats) -> Attended:
    weights = scores.astype(np.float64)
    if not np.isfinite(weights).all():
        raise LogitNonFinite("An attention logit is NaN or infinite.")
    peak = weights.max(axis=1, keepdims=True)
    np.exp(np.subtract(weights, peak, out=weights), out=weights)
    mass = weights.sum(axis=1, keepdims=True)
    pooled = _pool(scores, sums, peak) / mass
    logits = np.sum(pooled * networks.head_weight, axis=1)
    logits += networks.head_bias
    if not np.isfinite(logits).all():
        raise LogitNonFinite(f"{int((~np.isfinite(logits)).sum())} of {len(logits)} logits are NaN or infinite.")
    return Attended(logits=logits, attention=np.divide(weights, mass, out=weights), pooled=pooled)


def _pool(scores: _Floats, sums: _Floats, peak: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(sums.shape[1:])
    for tiles, weighted in zip(chunks(scores.shape[1]), sums, strict=True):
        own = scores[:, tiles].max(axis=1, keepdims=True)
        total += weighted * np.exp(own.astype(np.float64) - peak)
    return total
