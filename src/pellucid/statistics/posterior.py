"""From the raw logits of the passes to a posterior; the one place where its numbers come from.

Sums are exact (`math.fsum`), so a posterior derived again from stored logits has the same bits, in whatever order
scans arrived.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, expit, log_expit

from pellucid.domain.posterior import Posterior
from pellucid.statistics.errors import LogitsInvalid, SummaryInvalid


def logit_interval(posterior: Posterior) -> tuple[float, float]:
    """The central `level` of the passes' calibrated logits, `(low, high)`.

    They are derived from the raw logits: as probabilities, `low` and `high` lose digits near 0 and 1.
    """
    return _central(np.asarray(posterior.logits, dtype=np.float64) / posterior.temperature, posterior.level)


def summarise(logits: ArrayLike, *, temperature: float, n_scans: int, level: float = 0.9) -> Posterior:
    """Summarise the passes of a scan or specimen.

    With calibrated logits l = raw / temperature and p = logistic(l): the mutual information between answer and network
    is H(mean p) - mean H(p) (Houlsby et al., 2011), times n / (n - 1) against its bias, and never below zero. `low` and
    `high` are the logistic of the central quantiles of l (linear interpolation). One pass, as the deterministic
    baseline has, shows no spread: its sd and mutual information are 0 and its interval is a point.

    Args:
        logits: `(n_passes,)`, raw logits.
        temperature: divisor of the raw logits, positive.
        n_scans: how many scans the logits combine.
        level: probability that the interval holds, in (0, 1).

    Raises:
        LogitsInvalid: no logit, not a vector, or not finite.
        SummaryInvalid: temperature, level or number of scans out of range.
    """
    raw = _finite_vector(logits)
    if raw.size == 0:
        raise LogitsInvalid("No pass was given to summarise.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise SummaryInvalid(f"The temperature is {temperature}.")
    if not 0 < level < 1:
        raise SummaryInvalid(f"The level of the interval is {level}.")
    if n_scans < 1:
        raise SummaryInvalid(f"The number of scans is {n_scans}.")
    calibrated = raw / temperature
    mean_logit = _mean(calibrated)
    positive, negative = _mean(expit(calibrated)), _mean(expit(-calibrated))
    entropy = float(entr(positive) + entr(negative))
    freedom = max(1, raw.size - 1)
    information = (entropy - _mean(_binary_entropy(calibrated))) * raw.size / freedom if raw.size > 1 else 0.0
    low, high = expit(_central(calibrated, level))
    return Posterior(
        logits=tuple(raw.tolist()),
        temperature=float(temperature),
        probability=float(expit(mean_logit)),
        mean_probability=positive,
        mean_logit=mean_logit,
        sd_logit=math.sqrt(math.fsum((calibrated - mean_logit) ** 2) / freedom),
        low=float(low),
        high=float(high),
        level=float(level),
        entropy=entropy,
        mutual_information=max(0.0, information),
        n_scans=n_scans,
    )


def combine_scans(logits: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The raw logits of a specimen: the mean over its scans, pass by pass.

    Pass t is the same network for every scan, so the spread over the passes doesn't shrink as scans are added. The
    order of the scans makes no difference, not even in the last bit.

    Args:
        logits: one `(n_passes,)` vector a scan, at least one scan.

    Returns:
        `(n_passes,) float64`.

    Raises:
        LogitsInvalid: no scan, unequal numbers of passes, not vectors, or not finite.
    """
    scans = [_finite_vector(scan) for scan in logits]
    if not scans:
        raise LogitsInvalid("No scan was given to combine.")
    lengths = sorted({scan.size for scan in scans})
    if len(lengths) > 1:
        raise LogitsInvalid(f"The scans have unequal numbers of passes: {', '.join(map(str, lengths))}.")
    return np.array([_mean(column) for column in np.stack(scans, axis=1)], dtype=np.float64)


def _finite_vector(logits: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(logits, dtype=np.float64)
    if vector.ndim != 1:
        raise LogitsInvalid(f"Logits of shape {vector.shape} are no vector of passes.")
    if not np.isfinite(vector).all():
        raise LogitsInvalid(f"{int((~np.isfinite(vector)).sum())} of {vector.size} logits are NaN or infinite.")
    return vector


def _central(calibrated: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(calibrated, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values) / len(values)


def _binary_entropy(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # in terms of |l|, so that it stays exact where p rounds to 0 or 1
    size = np.abs(logits)
    return np.asarray(size * expit(-size) - log_expit(size), dtype=np.float64)
