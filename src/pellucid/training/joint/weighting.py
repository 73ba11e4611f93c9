"""What each slide weighs in the loss; with one slide a step, the only place where a class can weigh."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def slide_weights(labels: Sequence[int], specimens: Sequence[str]) -> NDArray[np.float64]:
    """A weight for each slide: both classes the same in sum, the scans of a specimen together as one slide, mean one.

    A step's loss is its slide's weight times the cross-entropy. A mean that divides by the weights of a batch would
    cancel them where the batch is one slide, as it did in EAGLE.

    Args:
        labels: 0 or 1 of each slide.
        specimens: the specimen of each slide.

    Returns:
        `(n,) float64`; with one class only, just the specimens' shares.
    """
    scans = Counter(specimens)
    share = np.array([1 / scans[specimen] for specimen in specimens])
    classes = np.asarray(labels)
    weights = np.zeros(len(classes))
    present = np.unique(classes)
    for value in present:
        rows = classes == value
        weights[rows] = share[rows] / share[rows].sum() * len(classes) / len(present)
    return weights
