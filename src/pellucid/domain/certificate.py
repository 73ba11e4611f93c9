"""What a site has proven of a model on its own specimens, and under which assumptions."""

from dataclasses import dataclass, field
from enum import StrEnum

TOLERANCE = 1e-3
"""How near to a threshold, in calibrated logits, an answer is not decided: other hardware could move it so far."""


class Side(StrEnum):
    """The two answers that could be given without a person."""

    NEGATIVE = "negative"
    POSITIVE = "positive"


class ClaimKind(StrEnum):
    """What a claim bounds."""

    PREDICTIVE_VALUE = "predictive_value"
    """Of the specimens that get the answer, the share for which it is right: NPV or PPV."""
    MISSED_POSITIVES = "missed_positives"
    """Of the mutated specimens, the share that gets the answer "negative"."""
    PREDICTIVE_VALUE_UP_TO_PREVALENCE = "predictive_value_up_to_prevalence"
    """NPV at every prevalence up to `prevalence_max`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim and what came of it.

    Attributes:
        side: of which answer it speaks.
        kind: what it bounds.
        target: a predictive value is at least, a share of missed positives at most this.
        delta: the chance, over the draw of the certification specimens, that a threshold is accepted and the claim is
            false.
        bound: the exact lower bound, of level 1 - delta, of the predictive value at the threshold, or upper bound of
            the missed share; None where no threshold was accepted. What holds with confidence 1 - delta at a threshold
            that was chosen by testing is the target; the bound describes the specimens seen there.
        n: specimens that the bound rests on: those that get the answer, or the mutated ones.
        errors: how many of them are wrong, or missed.
        prevalence_max: up to which prevalence the claim holds, where it says so.
    """

    side: Side
    kind: ClaimKind
    target: float
    delta: float
    bound: float | None
    n: int
    errors: int
    prevalence_max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why one side has no threshold, and how many more specimens it would probably take."""

    side: Side
    n_more: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What holds for the specimens of one stratum.

    Attributes:
        stratum: the values that a specimen must have, sorted by name; empty for all specimens.
        seen: the values of each stratifying column, and of "scanner", among the certified specimens, sorted; a
            specimen with any other value isn't covered.
        claims: every claim, those included for which no threshold was accepted.
        shortfalls: the sides without a threshold.
        negative: a specimen is negative without a person where the upper end of its interval (calibrated logit) is at
            most this; None where that was not shown.
        positive: likewise at least this, for the lower end.
        tolerance: how far from a threshold (calibrated logit) an answer still counts as near it.
        n_specimens: certified specimens, one a patient.
        n_passed: how many of them passed every gate.
        n_positive: how many of all are mutated.
        prevalence_low: lower end of the 95 % interval of the share of mutated specimens.
        prevalence_high: its upper end, or the prevalence that a claim reaches up to.
        delta: what all claims of this stratum spend together.
    """

    stratum: tuple[tuple[str, str], ...] = ()
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    claims: tuple[Claim, ...]
    shortfalls: tuple[Shortfall, ...] = ()
    negative: float | None
    positive: float | None
    tolerance: float = TOLERANCE
    n_specimens: int
    n_passed: int
    n_positive: int
    prevalence_low: float
    prevalence_high: float
    delta: float

    @property
    def title(self) -> str:
        """The stratum in words."""
        return ", ".join(f"{name} {value}" for name, value in self.stratum) or "all specimens"
