"""All that a model bundle's networks say of one bag."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators.gated_attention import GatedAttention
from pellucid.domain.tumour import TumourHead
from pellucid.uncertainty.ensemble import ensemble_logits
from pellucid.uncertainty.passes import Passes, run_passes
from pellucid.uncertainty.tumour import tumour_probability


def sample(
    head: GatedAttention,
    features: NDArray[np.float16],
    *,
    model: str,
    n_passes: int,
    ensemble: Sequence[GatedAttention] = (),
    tumour: TumourHead | None = None,
) -> Passes:
    """Run the Monte-Carlo passes of a bag, and beside them the ensemble's heads and the tumour head.

    Args:
        head: the aggregator.
        features: `(n_tiles, input_dim) float16`, the bag.
        model: the model digest, which keys the masks.
        n_passes: number of passes, at least 2.
        ensemble: the other heads of an ensemble, of which `head` is the first.
        tumour: the tumour head.

    Returns:
        What `run_passes` gives; with an ensemble also `ensemble_logits`, `head`'s own first; with a tumour head also
        `tumour`.

    Raises:
        PellucidError: as `run_passes`, where the bag can't be scored by one of the heads.
    """
    passes = run_passes(head, features, model=model, n_passes=n_passes)
    if ensemble:
        others = ensemble_logits(ensemble, features)
        passes = replace(passes, ensemble_logits=np.concatenate([[passes.dropout_free_logit], others]))
    if tumour is not None:
        passes = replace(passes, tumour=tumour_probability(tumour, features))
    return passes
