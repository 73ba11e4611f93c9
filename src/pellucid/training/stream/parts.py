"""What each rank could read of a slide, put together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pellucid.core.errors import PellucidError
from pellucid.training.stream.errors import TilesUnreadable
from pellucid.training.stream.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What came of a slide on one rank.

    `readable` is `(m,) bool` over the rank's tiles; with an `error` it means nothing. A fatal error is not the slide's.
    """

    readable: NDArray[np.bool_]
    error: PellucidError | None = None
    is_fatal: bool = False


def agreed(
    parts: Sequence[Part], layout: Layout, max_unreadable: float
) -> tuple[NDArray[np.bool_], PellucidError | None]:
    """Which of all drawn tiles can be read, `(n,) bool`, and why the slide counts as failed; the same on every rank.

    Args:
        parts: every rank's, in the order of ranks.
        layout: of the drawn tiles.
        max_unreadable: the largest share of them that may be unreadable; all never may.

    Raises:
        PellucidError: the readers of a rank can't go on.
    """
    for part in parts:
        if part.is_fatal and part.error is not None:
            raise part.error
    readable = np.zeros(len(layout.tiles), np.bool_)
    for rank, part in enumerate(parts):
        readable[layout.of(rank)] = part.readable
    errors = [part.error for part in parts if part.error is not None]
    return readable, errors[0] if errors else _too_few(readable, max_unreadable)


def _too_few(readable: NDArray[np.bool_], max_unreadable: float) -> TilesUnreadable | None:
    n_bad = int((~readable).sum())
    if n_bad <= max_unreadable * len(readable) and n_bad < len(readable):
        return None
    return TilesUnreadable(f"{n_bad} of the {len(readable)} tiles that were drawn from the slide can't be decoded.")
