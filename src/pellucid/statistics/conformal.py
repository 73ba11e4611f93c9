"""Online conformal p-values of a stream against a fixed reference, exact and in bounded memory.

The reference values, with ties among them broken at random, cut the line into m + 1 gaps. For exchangeable values
without ties the next one falls into gap j with probability (1 + c_j) / (m + 1 + k) given where the k earlier ones
fell, c_j of them in gap j (a Polya urn). So counts a gap are all that must be remembered, gaps may be merged
beforehand, and

    p = (weight above the value's bin + theta * weight of its bin) / (m + 1 + k),   theta ~ U(0, 1),

is uniform given all earlier p-values of the feature: the same law as that of ranks among all earlier values (Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2005), without keeping them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BINS = 256


@dataclass(slots=True, kw_only=True, eq=False)
class ConformalStream:
    """The state of one feature's stream: bin edges with their tie-breaks, and the weight of each bin.

    `edges` and `ties` are `(n_bins - 1,) float64`, sorted as pairs; `weights` is `(n_bins,) int64`, the gaps that
    were merged into each bin plus the values seen in it. Make it with `start`.
    """

    edges: NDArray[np.float64]
    ties: NDArray[np.float64]
    weights: NDArray[np.int64]
    rng: np.random.Generator

    @classmethod
    def start(cls, reference: ArrayLike, rng: np.random.Generator, *, max_bins: int = MAX_BINS) -> "ConformalStream":
        """A stream that has seen nothing but its reference.

        Args:
            reference: `(m,)` values, in any order.
            rng: breaks all ties, of the reference and of the stream.
            max_bins: at most so many bins are kept, of about equally many reference values each.

        Raises:
            ValueError: the reference is empty or not finite, or fewer than two bins are asked for.
        """
        values = np.asarray(reference, dtype=np.float64).ravel()
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError("The reference must hold at least one value, all of them finite.")
        if max_bins < 2:
            raise ValueError(f"{max_bins} bins can't tell high from low; at least 2 are needed.")
        ties = rng.random(values.size)
        order = np.lexsort((ties, values))
        n_bins = min(max_bins, values.size + 1)
        # The gap before sorted value i is gap i; bin b holds the gaps from starts[b] up to the next start.
        starts = np.arange(n_bins) * (values.size + 1) // n_bins
        kept = order[starts[1:] - 1]
        weights = np.diff(np.append(starts, values.size + 1))
        return cls(edges=values[kept], ties=ties[kept], weights=weights.astype(np.int64), rng=rng)

    def p_value(self, value: float) -> float:
        """The p-value of the next value, in (0, 1); small where the value is large. Remembers the value.

        Raises:
            ValueError: the value isn't finite.
        """
        if not np.isfinite(value):
            raise ValueError(f"{value} has no rank.")
        tie, theta = self.rng.random(2)
        place = self._bin_of(value, tie)
        above = int(self.weights[place + 1 :].sum())
        p = (above + theta * int(self.weights[place])) / int(self.weights.sum())
        self.weights[place] += 1
        return float(p)

    def _bin_of(self, value: float, tie: float) -> int:
        first = int(np.searchsorted(self.edges, value, side="left"))
        last = int(np.searchsorted(self.edges, value, side="right"))
        return first + int(np.searchsorted(self.ties[first:last], tie))


def online_p_values(
    reference: ArrayLike, values: ArrayLike, rng: np.random.Generator, *, max_bins: int = MAX_BINS
) -> NDArray[np.float64]:
    """The p-value of each of `values`, `(n,)` in their order; NaN where a value isn't finite, which is passed over.

    Under exchangeability with the reference they are independent and uniform; see the module.
    """
    stream = ConformalStream.start(reference, rng, max_bins=max_bins)
    given = np.asarray(values, dtype=np.float64).ravel()
    return np.array([stream.p_value(value) if np.isfinite(value) else np.nan for value in given], dtype=np.float64)


def folded(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """|2 p - 1|: as uniform as `p_values`, and large where a value lies far out on either side: it shows spread."""
    return np.abs(2.0 * p_values - 1.0)
