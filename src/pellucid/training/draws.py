"""Which scans an epoch sees, which of their tiles, and who stands in for a scan that failed.

Pure functions of the seed, the epoch and a scan's digest: nothing depends on a row's place in the table, so that a
table that gains or loses a scan leaves the draws of the others alone.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import derive_seed, generator

_ROUNDING = 1e-9


def epoch_steps(n_scans: int, share: float) -> int:
    """How many scans an epoch sees: the share of them, rounded up, and at least one.

    Args:
        n_scans: scans in all.
        share: above 0, at most 1.
    """
    return min(n_scans, max(1, math.ceil(share * n_scans - _ROUNDING)))


def epoch_order(seed: int, epoch: int, digests: Sequence[str], share: float) -> list[int]:
    """Which scans an epoch sees, and in which order; no scan twice.

    As many epochs as it takes to see all scans form a round, over one order of all scans that is drawn anew for each
    round. With a share of 1/2, two epochs are a round and see every scan once (of an odd number, one of them twice);
    where the epochs of a round have room for more than all scans, the last begins again at the front.

    Args:
        seed: of the training.
        epoch: from 0.
        digests: of the scans, all different.
        share: of the scans an epoch sees, above 0, at most 1.

    Returns:
        Indices into `digests`, `epoch_steps` of them.
    """
    count = epoch_steps(len(digests), share)
    which, part = divmod(epoch, math.ceil(len(digests) / count))
    order = sorted(range(len(digests)), key=lambda nth: derive_seed("epoch-order", seed, which, digests[nth]))
    return [order[place % len(order)] for place in range(part * count, (part + 1) * count)]


def draw_tiles(seed: int, epoch: int, digest: str, n_grid: int, n_tiles: int, *, attempt: int = 0) -> NDArray[np.int64]:
    """Tiles of a scan, drawn uniformly without replacement.

    Args:
        seed: of the training.
        epoch: from 0.
        digest: the scan's.
        n_grid: tiles in its grid.
        n_tiles: how many are drawn; all where there are no more.
        attempt: above 0 where the scan stands in for another, so that an epoch that sees it twice sees other tiles.

    Returns:
        `(min(n_grid, n_tiles),) int64`, ascending indices into the grid.
    """
    if n_grid <= n_tiles:
        return np.arange(n_grid, dtype=np.int64)
    rng = generator("epoch-tiles", seed, epoch, digest, attempt)
    return np.sort(rng.choice(n_grid, n_tiles, replace=False)).astype(np.int64)


def substitute(seed: int, epoch: int, position: int, attempt: int, candidates: Sequence[str]) -> int:
    """Who takes the place of a scan that failed.

    Args:
        seed: of the training.
        epoch: from 0.
        position: of the failed scan in the epoch.
        attempt: 1 for the first to stand in, 2 for who stands in for that one, and so on.
        candidates: digests of those who may; at least one.

    Returns:
        An index into `candidates`. Who is chosen stays so when others are taken from the candidates.
    """
    keys = [derive_seed("substitute", seed, epoch, position, attempt, digest) for digest in candidates]
    return min(range(len(keys)), key=keys.__getitem__)
