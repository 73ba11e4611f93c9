"""The tumour head: which tiles hold tumour, learnt where it is known, and how little of it a scan may have."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pellucid.domain.tumour import TumourHead
from pellucid.statistics import auroc
from pellucid.training.bags import EmbeddedScan
from pellucid.training.encoder_loop import class_weights
from pellucid.training.logistic import Rows, fit_logistic
from pellucid.training.tiles import UNKNOWN, Truth, tile_classes
from pellucid.uncertainty.tumour import tumour_probability

_THRESHOLD: Final = 0.5
_LEAST = 0.05
_MOST = 0.95

_Classes = NDArray[np.int8]


def fit_tumour_head(
    training: Sequence[EmbeddedScan], tuning: Sequence[EmbeddedScan], truth: Truth
) -> TumourHead | None:
    """Fit a tumour head on the training scans' tiles, both classes weighing the same in sum, and its limit on others.

    Tiles that are neither mostly tumour nor free of it are left out.

    Args:
        training: what the weights are fitted on.
        tuning: what AUROC and limit come from.
        truth: where tumour is.

    Returns:
        The head; None where the training tiles, or the tuning tiles, aren't known to hold both tumour and tiles that
        are free of it.
    """
    known = _classes_of(training, truth)
    held_out = _classes_of(tuning, truth)
    if not _both(known) or not _both(held_out):
        return None
    weights, bias = fit_logistic(_rows(training, known))
    head = TumourHead(
        weights=tuple(weights),
        bias=bias,
        threshold=_THRESHOLD,
        limit=0.0,
        n_tiles=sum(int((classes != UNKNOWN).sum()) for classes in known),
        auroc=None,
    )
    chances = [tumour_probability(head, item.bag.features) for item in tuning]
    return TumourHead(
        weights=head.weights,
        bias=bias,
        threshold=_THRESHOLD,
        limit=limit_of(chances, held_out),
        n_tiles=head.n_tiles,
        auroc=_ranking(chances, held_out),
    )


def tumour_share(head: TumourHead, features: NDArray[np.float16]) -> float:
    """The share of a bag's tiles, `features (n_tiles, d) float16`, that the head calls tumour."""
    return float(np.mean(tumour_probability(head, features) >= head.threshold))


def limit_of(chances: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.int8]]) -> float:
    """The least share of tumour tiles that a scan may have and still be answered without a person.

    Halfway between two shares of tiles that are called tumour: of all tiles in a scan with about as little tumour as
    any (the 5 % quantile over the scans that hold some), and of tumour-free tiles in a scan with about as many mistakes
    as any (the 95 % quantile over the scans that hold tumour-free ones). A scan without tumour stays below unless more
    is mistaken in it than usual; one with little tumour gets over it unless half of that is missed.

    Args:
        chances: for each scan the probability that a tile is tumour, `(n_tiles,)`.
        classes: for each scan 1 tumour, 0 free of it, -1 neither or unknown, `(n_tiles,)`; at least one scan has
            tumour, and at least one tumour-free tiles.
    """
    called = [chance >= _THRESHOLD for chance in chances]
    with_tumour = [np.mean(one) for one, known in zip(called, classes, strict=True) if (known == 1).any()]
    mistaken = [np.mean(one[known == 0]) for one, known in zip(called, classes, strict=True) if (known == 0).any()]
    return float((np.quantile(with_tumour, _LEAST) + np.quantile(mistaken, _MOST)) / 2)


def _classes_of(scans: Sequence[EmbeddedScan], truth: Truth) -> list[_Classes]:
    return [tile_classes(truth(item.scan), len(item.scan.grid))[item.tiles] for item in scans]


def _both(classes: Sequence[_Classes]) -> bool:
    return all(any((one == wanted).any() for one in classes) for wanted in (0, 1))


def _rows(scans: Sequence[EmbeddedScan], classes: Sequence[_Classes]) -> list[Rows]:
    weights = np.split(class_weights(np.concatenate(classes)), np.cumsum([len(one) for one in classes])[:-1])
    rows = []
    for item, one, weight in zip(scans, classes, weights, strict=True):
        known = one != UNKNOWN
        if known.any():
            rows.append(
                Rows(
                    features=torch.from_numpy(item.bag.features[known]),
                    wanted=torch.from_numpy((one[known] == 1).astype(np.float64)),
                    weight=torch.from_numpy(weight[known].astype(np.float64)),
                )
            )
    return rows


def _ranking(chances: Sequence[NDArray[np.float32]], classes: Sequence[_Classes]) -> float:
    chance, known = np.concatenate(chances), np.concatenate(classes)
    return auroc(chance[known != UNKNOWN], known[known != UNKNOWN])
