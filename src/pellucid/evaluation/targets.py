"""What a certification should show, and how its delta is split."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pellucid.domain.certificate import ClaimKind, Side
from pellucid.evaluation.errors import TargetsInvalid

LEAST_SEEN = 5
"""A site, specimen type or scanner with fewer certified specimens than this isn't covered."""
LONGEST_DAYS = 3650

MOST_CEILING = 0.5
"""Above it, one specimen could be both negative and positive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedClaim:
    """One claim that is asked for, and the delta that it may spend in each stratum."""

    side: Side
    kind: ClaimKind
    target: float
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificationTargets:
    """What is to be shown.

    Attributes:
        npv: of the specimens called negative without a person, at least this share is wild type; None claims nothing.
        ppv: of those called positive, at least this share is mutated; None claims nothing.
        missed: of the mutated specimens, at most this share is called negative; None claims nothing.
        prevalence_max: the NPV holds at every prevalence up to this one; None: at that of the certified specimens.
        ceiling: at a negative threshold the interval ends at most at this probability, at a positive one at least at
            one minus it. The claims speak of all answers together; this keeps easy ones from carrying doubtful ones.
        delta: the chance, over the draw of the specimens, that any claim of any stratum is false; split evenly.
        budget: how much delta all certifications that share a patient may spend; `delta` where None.
        strata: columns of the cases table, or "scanner", whose values are certified apart.
        required: columns that must be stated, and whose value must have been seen.
        valid_days: for how long the certificates hold.
    """

    npv: float | None = 0.95
    ppv: float | None = None
    missed: float | None = None
    prevalence_max: float | None = None
    ceiling: float = 0.35
    delta: float = 0.05
    budget: float | None = None
    strata: tuple[str, ...] = ()
    required: tuple[str, ...] = ("site", "specimen_type")
    valid_days: int = 365

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise TargetsInvalid(f"Nothing can be certified: {'; '.join(problems)}.")

    @property
    def highest(self) -> float:
        """The ceiling in logits."""
        return math.log(self.ceiling / (1.0 - self.ceiling))

    def claims(self, n_strata: int) -> tuple[WantedClaim, ...]:
        """The claims of each stratum; the delta of all of them, in all strata, adds up to `delta`."""
        wanted = list(_wanted(self))
        share = self.delta / (len(wanted) * n_strata)
        return tuple(WantedClaim(side=side, kind=kind, target=target, delta=share) for side, kind, target in wanted)


def _wanted(targets: CertificationTargets) -> Iterator[tuple[Side, ClaimKind, float]]:
    if targets.npv is not None:
        robust = targets.prevalence_max is not None
        kind = ClaimKind.PREDICTIVE_VALUE_UP_TO_PREVALENCE if robust else ClaimKind.PREDICTIVE_VALUE
        yield Side.NEGATIVE, kind, targets.npv
    if targets.missed is not None:
        yield Side.NEGATIVE, ClaimKind.MISSED_POSITIVES, targets.missed
    if targets.ppv is not None:
        yield Side.POSITIVE, ClaimKind.PREDICTIVE_VALUE, targets.ppv


def _problems(targets: CertificationTargets) -> Iterator[str]:
    for name in ("npv", "ppv", "missed", "prevalence_max", "delta", "budget"):
        value = getattr(targets, name)
        if value is not None and not 0 < value < 1:
            yield f"{name.replace('_', ' ')} is {value}"
    if not 0 < targets.ceiling <= MOST_CEILING:
        yield f"the ceiling is {targets.ceiling}, not above 0 and at most {MOST_CEILING}"
    if targets.npv is None and targets.ppv is None and targets.missed is None:
        yield "no claim is asked for"
    if targets.prevalence_max is not None and targets.npv is None:
        yield "a highest prevalence belongs to an NPV, and none is asked for"
    if targets.budget is not None and targets.budget < targets.delta:
        yield f"the budget of {targets.budget} is below the delta of {targets.delta}"
    if len(set(targets.strata)) < len(targets.strata):
        yield "a stratum is named twice"
    if not 1 <= targets.valid_days <= LONGEST_DAYS:
        yield f"certificates that hold {targets.valid_days} days"
