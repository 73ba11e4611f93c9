"""E-detectors: sequential tests of change on conformal p-values, with a bound on false alarms that needs no tuning.

Simple jumper: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman, "Retrain or not retrain" (2021), arXiv
2102.10439. Shiryaev-Roberts e-detector: Shin, Ramdas and Rinaldo, "E-detectors" (2022), arXiv 2203.03532.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JUMP_RATE = 0.01
BETS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
ALARM_LEVEL = 20_000.0
"""Evidence that is an alarm: at most one false alarm is expected in so many cases."""
MAX_LOG_EVIDENCE = float(np.log(1e300))


@dataclass(slots=True, kw_only=True, eq=False)
class EDetector:
    """Shiryaev-Roberts statistics of k streams of p-values, each bet on by a simple jumper.

    With b_n the jumper's factor, R_n = (1 + R_{n-1}) b_n. As E[b_n | past] = 1 while nothing changes, R_n - n is a
    martingale: an alarm at R >= A comes once in at least A cases on average, and within N cases with probability at
    most N / A. `weights` is `(k, 5) float64`, rows sum to 1; `log_evidence` is `(k,) float64`, the natural logarithm
    of R.
    """

    weights: NDArray[np.float64]
    log_evidence: NDArray[np.float64]
    jump_rate: float = JUMP_RATE

    @classmethod
    def start(cls, n_streams: int, *, jump_rate: float = JUMP_RATE) -> "EDetector":
        """No evidence yet, and equal stakes on every bet."""
        return cls(
            weights=np.full((n_streams, BETS.size), 1.0 / BETS.size),
            log_evidence=np.full(n_streams, -np.inf),
            jump_rate=jump_rate,
        )

    def update(self, p_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the next p-value of each stream, `(k,)`, NaN to leave one as it is; gives the log evidence, `(k,)`."""
        present = np.isfinite(p_values)
        stakes = (1.0 - self.jump_rate) * self.weights + self.jump_rate / BETS.size
        odds = 1.0 + BETS * (np.where(present, p_values, 0.5)[:, None] - 0.5)
        staked = stakes * odds
        factor = staked.sum(axis=1)
        grown = np.minimum(np.logaddexp(0.0, self.log_evidence) + np.log(factor), MAX_LOG_EVIDENCE)
        self.weights = np.where(present[:, None], staked / factor[:, None], self.weights)
        self.log_evidence = np.where(present, grown, self.log_evidence)
        return self.log_evidence


def log_evidence(p_values: NDArray[np.float64], *, jump_rate: float = JUMP_RATE) -> NDArray[np.float64]:
    """The log evidence after each case: `(n, k)` p-values (NaN where missing) give `(n, k)`."""
    detector = EDetector.start(p_values.shape[1], jump_rate=jump_rate)
    path = np.empty(p_values.shape, dtype=np.float64)
    for row, values in enumerate(p_values):
        path[row] = detector.update(values)
    return path


def log_mean(evidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithm of the mean evidence over the last axis, from logarithms."""
    return np.asarray(np.logaddexp.reduce(evidence, axis=-1) - np.log(evidence.shape[-1]))


def combine(evidence: NDArray[np.float64], groups: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """The mean over groups of each group's mean evidence, as logarithms: `(n, k)` gives `(n,)`.

    Two levels keep many input features from diluting a shift that shows in the few outputs only. A mean of
    e-detectors is an e-detector, with the bounds of each, where all have their martingale property given the past of
    all. That holds for each feature given its own past; given the past of dependent features it holds in the limit of
    a large reference, and under any dependence the chance of a false alarm grows at most by the factor e ln k, k > 2
    (Vovk and Wang, "Combining p-values via averaging", 2020). Simulation shows it within N / A for correlated
    features.

    Args:
        evidence: `(n, k)` log evidence.
        groups: the columns of each group; no group is empty.
    """
    means = np.stack([log_mean(evidence[:, list(columns)]) for columns in groups], axis=-1)
    return log_mean(means)


def first_alarm(evidence: NDArray[np.float64], *, level: float = ALARM_LEVEL) -> int | None:
    """The first case, from 0, at which the log evidence `(n,)` reached the alarm level; None where it never did."""
    reached = np.flatnonzero(evidence >= np.log(level))
    return int(reached[0]) if reached.size else None
