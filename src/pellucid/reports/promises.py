"""What a certificate promises of an answer, and how an interval lies to its thresholds, in words for a page."""

import datetime
from dataclasses import dataclass

from scipy.special import expit

from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Side
from pellucid.domain.decision import Decision, Verdict
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.reports import formats
from pellucid.reports.charts import Region
from pellucid.triage import scores_of

NOT_THIS_ONE = (
    "It is a statement about all such answers together, made in advance; of this specimen alone it says nothing more."
)
SEQUENCING = (
    "It never replaces sequencing: it is a reason to sequence, and says neither that a mutation is there nor which."
)

_SIDES = {Verdict.NEGATIVE: Side.NEGATIVE, Verdict.POSITIVE: Side.POSITIVE}
_MODES: dict[Mode, tuple[str, str]] = {
    Mode.SILENT: ("silent", "Answers are recorded and shown to nobody who treats the patient."),
    Mode.FOR_REVIEW: ("for review", "A pathologist sees every answer and decides."),
    Mode.AUTONOMOUS: ("autonomous", "What a certificate covers is reported without a person; all else is for review."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one end of the interval stands to the threshold of one side; `beyond` is None where there is no threshold.

    `end` and `threshold` are probabilities, `end_logit` and `threshold_logit` the calibrated logits that are compared.
    """

    side: Side
    end: float
    end_logit: float
    threshold: float | None
    threshold_logit: float | None
    beyond: bool | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Until when certificates hold, as of a day: `days_left` counts the last day in and is None where there is none."""

    expires_on: str | None
    days_left: int | None

    @property
    def expired(self) -> bool:
        """Whether the last day has passed."""
        return self.days_left is not None and self.days_left <= 0

    @property
    def sentence(self) -> str:
        """The term in words."""
        if self.days_left is None:
            return "without an end"
        if self.expired:
            return f"expired: the last day was {self.expires_on}, so every specimen goes to a person"
        return f"until {self.expires_on}, {formats.counted(self.days_left, 'day')} left"


def term_of(policy: SitePolicy, on: str) -> Term:
    """The term of a policy's certificates, counted from a day (YYYY-MM-DD)."""
    if policy.expires_on is None:
        return Term(expires_on=None, days_left=None)
    left = datetime.date.fromisoformat(policy.expires_on) - datetime.date.fromisoformat(on)
    return Term(expires_on=policy.expires_on, days_left=left.days + 1)


def mode_label(mode: Mode) -> str:
    """A mode in a word or two."""
    return _MODES[mode][0]


def mode_meaning(mode: Mode) -> str:
    """What happens with an answer under a mode."""
    return _MODES[mode][1]


def side_of(verdict: Verdict) -> Side | None:
    """The side of a certificate that a verdict rests on, None for an undetermined one."""
    return _SIDES.get(verdict)


def claims_shown(certificate: Certificate, side: Side) -> list[Claim]:
    """The claims of a side that hold: those with a bound, where the side has a threshold."""
    if threshold_of(certificate, side) is None:
        return []
    return [claim for claim in certificate.claims if claim.side is side and claim.bound is not None]


def threshold_of(certificate: Certificate, side: Side) -> float | None:
    """The threshold of a side, a calibrated logit."""
    return certificate.negative if side is Side.NEGATIVE else certificate.positive


def claim_sentence(claim: Claim, biomarker: str) -> str:
    """What a claim says of answers to come, with its confidence."""
    target, sure = formats.percent(claim.target), f"with {formats.percent(1 - claim.delta)} confidence"
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        return f"Of specimens with {biomarker}, at most {target} are answered negative, {sure}."
    said = f"Of specimens that are answered {claim.side.value}, at least {target} are rightly so, {sure}"
    if claim.prevalence_max is not None:
        return f"{said}, as long as at most {formats.percent(claim.prevalence_max)} of all have {biomarker}."
    return f"{said}."


def bound_sentence(claim: Claim) -> str:
    """What a claim rests on, and that it is no promise where it has no bound."""
    if claim.bound is None:
        return "not shown, so not promised"
    n, errors = formats.count(claim.n), formats.count(claim.errors)
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        return f"shown: at most {bounded(claim.bound, up=True)}, from {n} such specimens, {errors} of them missed"
    return f"shown: at least {bounded(claim.bound, up=False)}, from {n} such answers, {errors} of them wrong"


def bounded(share: float, *, up: bool) -> str:
    """A bound as a percentage to one decimal, rounded to the side on which it still holds."""
    tenths = -((-share * 1000) // 1) if up else (share * 1000) // 1
    return formats.percent(min(max(tenths, 0), 1000) / 1000)


def prevalence_sentence(certificate: Certificate, biomarker: str) -> str:
    """Where the certificate was made, and so where it holds."""
    low, high = formats.percent(certificate.prevalence_low), formats.percent(certificate.prevalence_high)
    return f"It holds where {low} to {high} of specimens have {biomarker}."


def standings(posterior: Posterior, certificate: Certificate, policy: SitePolicy) -> list[Standing]:
    """Both ends of the interval against the thresholds; each end is moved by the tolerance, as the rule does it."""
    scores = scores_of(posterior, certificate.tolerance)
    return [
        _standing(Side.NEGATIVE, scores.upper, certificate, policy),
        _standing(Side.POSITIVE, scores.lower, certificate, policy),
    ]


def regions(certificate: Certificate | None, policy: SitePolicy) -> list[Region]:
    """The parts of the probability axis that are answered under the certificate, for the plot of the passes."""
    if certificate is None:
        return []
    found = []
    if certificate.negative is not None:
        at = float(expit(certificate.negative))
        found.append(Region(label=f"negative at most {formats.fine(at)}", low=0.0, high=at, answered=True))
    if certificate.positive is not None:
        at, on = float(expit(certificate.positive)), policy.autonomous_positive
        label = f"positive at least {formats.fine(at)}{'' if on else ', off'}"
        found.append(Region(label=label, low=at, high=1.0, answered=on))
    return found


def meaning(decision: Decision) -> str:
    """What a verdict says, and what it doesn't."""
    if decision.verdict is Verdict.UNDETERMINED:
        return "Whatever the number suggests, it is not an answer."
    ground = (
        "The whole interval lies beyond the certified threshold, and no reason against relying on the model was found."
    )
    return f"{ground} {SEQUENCING}" if decision.verdict is Verdict.POSITIVE else ground


def _standing(side: Side, end: float, certificate: Certificate, policy: SitePolicy) -> Standing:
    threshold = threshold_of(certificate, side)
    beyond = None if threshold is None else end <= threshold if side is Side.NEGATIVE else end >= threshold
    return Standing(
        side=side,
        end=float(expit(end)),
        end_logit=end,
        threshold=None if threshold is None else float(expit(threshold)),
        threshold_logit=threshold,
        beyond=beyond,
        sentence=_standing_sentence(side, end, certificate, policy),
    )


def _standing_sentence(side: Side, end: float, certificate: Certificate, policy: SitePolicy) -> str:
    threshold = threshold_of(certificate, side)
    if threshold is None:
        short = " ".join(one.sentence for one in certificate.shortfalls if one.side is side)
        return f"No {side.value} threshold is certified. {short}".rstrip()
    name, most = ("upper", "at most") if side is Side.NEGATIVE else ("lower", "at least")
    beyond = end <= threshold if side is Side.NEGATIVE else end >= threshold
    said = (
        f"The {name} end of the interval is {formats.fine(float(expit(end)))}; a {side.value} answer needs {most} "
        f"{formats.fine(float(expit(threshold)))}"
    )
    if side is Side.POSITIVE and not policy.autonomous_positive:
        return f"{said}, and positive answers without a person are switched off."
    return f"{said}: {'kept' if beyond else 'missed'}."
