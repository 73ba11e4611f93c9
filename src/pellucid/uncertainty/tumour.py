"""Which tiles hold tumour, by a linear head on their embeddings; doesn't import torch."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pellucid.domain.tumour import TumourHead
from pellucid.uncertainty.bags import check_bag, chunks
from pellucid.uncertainty.errors import LogitNonFinite


def tumour_probability(head: TumourHead, features: NDArray[np.float16]) -> NDArray[np.float32]:
    """The probability of each tile of a bag that it is tumour.

    A tile's bits depend on its own embedding alone, on any number of threads.

    Args:
        head: the tumour head.
        features: `(n_tiles, len(head.weights)) float16`.

    Returns:
        `(n_tiles,) float32`, 0..1.

    Raises:
        BagPrecisionMismatch: the features aren't float16.
        BagEmpty: the bag has no tile.
        BagShapeMismatch: the bag isn't as wide as the head.
        BagNonFinite: an embedding holds NaN or infinity.
        LogitNonFinite: a tile's logit came out as NaN or infinite.
    """
    weights = np.asarray(head.weights, dtype=np.float64)
    check_bag(features, len(weights))
    logits = np.empty(len(features))
    for tiles in chunks(len(features)):
        # einsum's own loop: a BLAS product's bits depend on its threads and on the number of rows
        logits[tiles] = np.einsum("ij,j->i", np.ascontiguousarray(features[tiles], dtype=np.float64), weights)
    logits += head.bias
    if not np.isfinite(logits).all():
        raise LogitNonFinite(f"The tumour head gave {int((~np.isfinite(logits)).sum())} logits that are no numbers.")
    return np.asarray(expit(logits), dtype=np.float32)
