"""How many tiles slides have."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_FEWEST, _MOST_OF_MEAN = 20, 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideSizes:
    """A distribution of tiles per slide: lognormal, or that of `seen (n,) int64`, slides of a run.

    `mean` is in tiles, `spread` the standard deviation of the logarithm.
    """

    mean: float = 12_000.0
    spread: float = 0.6
    seen: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, n_tiles: NDArray[np.int64]) -> Self:
        """The distribution of slides that were seen.

        Raises:
            ValueError: there is none, or one has no tile.
        """
        if len(n_tiles) == 0 or n_tiles.min() < 1:
            raise ValueError("slides with at least one tile are needed")
        return cls(mean=float(n_tiles.mean()), spread=float(np.log(n_tiles).std()), seen=n_tiles)

    def draw(self, draw: np.random.Generator, count: int) -> NDArray[np.float64]:
        """`(count,) float64` numbers of tiles."""
        if self.seen is not None:
            return draw.choice(self.seen, size=count).astype(np.float64)
        centre = math.log(self.mean) - self.spread**2 / 2
        drawn = draw.lognormal(centre, self.spread, size=count)
        return np.clip(drawn, min(_FEWEST, self.mean), self.mean * _MOST_OF_MEAN)

    def describe(self) -> str:
        """A sentence on it."""
        if self.seen is not None:
            return f"Tiles per slide are drawn from {len(self.seen)} scans of the run, {self.mean:,.0f} on average."
        return (
            f"Tiles per slide are lognormal, {self.mean:,.0f} on average with a spread of {self.spread:g} (assumed: "
            "100,000 x 80,000 pixels of 0.25 um/px, 30% of them tissue, are 12,000 tiles)."
        )
