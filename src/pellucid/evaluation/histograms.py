"""The probabilities of the mutated and of the wild type, and where the thresholds lie among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pellucid.domain.certificate import Side
from pellucid.domain.policy import SitePolicy
from pellucid.evaluation.specimens import AssessedSpecimen

N_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A certified threshold as a probability, and the stratum that it is for."""

    side: Side
    probability: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """Counts of the probability in `N_BINS` equal parts of 0 to 1; the last part includes 1.

    A threshold is held against an interval's end, not against the probability that is counted here.
    """

    mutated: tuple[int, ...]
    wild_type: tuple[int, ...]
    unknown: tuple[int, ...]
    thresholds: tuple[Threshold, ...]


def count_probabilities(specimens: Sequence[AssessedSpecimen], policy: SitePolicy) -> Histograms:
    """Count the answered specimens by outcome and probability."""
    return Histograms(
        mutated=_counts(specimens, 1),
        wild_type=_counts(specimens, 0),
        unknown=_counts(specimens, None),
        thresholds=tuple(
            Threshold(side=side, probability=float(expit(logit)), title=certificate.title)
            for certificate in policy.certificates
            for side, logit in ((Side.NEGATIVE, certificate.negative), (Side.POSITIVE, certificate.positive))
            if logit is not None
        ),
    )


def _counts(specimens: Sequence[AssessedSpecimen], label: int | None) -> tuple[int, ...]:
    values = [one.posterior.probability for one in specimens if one.posterior is not None and one.label == label]
    bins = np.minimum((np.array(values, dtype=np.float64) * N_BINS).astype(np.int64), N_BINS - 1)
    return tuple(np.bincount(bins, minlength=N_BINS).tolist())
