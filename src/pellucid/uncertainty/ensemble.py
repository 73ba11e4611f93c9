"""What Monte-Carlo dropout is held against: an ensemble of heads, and one head without any doubt."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.uncertainty.attending import Attended, attend
from pellucid.uncertainty.bags import check_bag
from pellucid.uncertainty.errors import TooFewPasses
from pellucid.uncertainty.passes import Passes


def run_ensemble(heads: Sequence[GatedAttention], features: NDArray[np.float16]) -> Passes:
    """Put a bag through each of several heads without dropout: a pass a head (Lakshminarayanan et al., NIPS 2017).

    Bits and errors are as in `run_passes`; a head's logit has the bits of its own `run_deterministic`. The
    dropout-free logit and the embedding are the first head's.

    Args:
        heads: at least 2, trained alike from different seeds.
        features: `(n_tiles, input_dim) float16`, the bag.

    Raises:
        TooFewPasses: fewer than 2 heads.
        PellucidError: as `run_passes`, where the bag can't be scored by one of the heads.
    """
    if len(heads) < 2:
        raise TooFewPasses(f"An ensemble of {len(heads)} was given.")
    found = _without_dropout(heads, features)
    attention = np.concatenate([one.attention for one in found])
    logits = np.concatenate([one.logits for one in found])
    return _passes(found[0], logits, attention, attention.std(axis=0, ddof=1))


def run_deterministic(head: GatedAttention, features: NDArray[np.float16]) -> Passes:
    """Put a bag through a head without dropout: one pass, whose attention has no spread.

    Bits and errors are as in `run_passes`; the logit has the bits of its `dropout_free_logit`.

    Args:
        head: the aggregator.
        features: `(n_tiles, input_dim) float16`, the bag.

    Raises:
        PellucidError: as `run_passes`, where the bag can't be scored.
    """
    (found,) = _without_dropout([head], features)
    return _passes(found, found.logits, found.attention, np.zeros(len(features)))


def ensemble_logits(heads: Sequence[GatedAttention], features: NDArray[np.float16]) -> NDArray[np.float64]:
    """The logit of each head without dropout, `(n_heads,) float64`; errors as in `run_passes`."""
    return np.array([one.logits[0] for one in _without_dropout(heads, features)], dtype=np.float64)


def _without_dropout(heads: Sequence[GatedAttention], features: NDArray[np.float16]) -> list[Attended]:
    for head in heads:
        check_bag(features, head.config.input_dim)
    return [attend(head, [None], features) for head in heads]


def _passes(
    first: Attended, logits: NDArray[np.float64], attention: NDArray[np.float64], sd: NDArray[np.float64]
) -> Passes:
    return Passes(
        logits=logits,
        dropout_free_logit=float(first.logits[0]),
        attention_mean=attention.mean(axis=0).astype(np.float32),
        attention_sd=sd.astype(np.float32),
        embedding=first.pooled[0].astype(np.float32),
    )
