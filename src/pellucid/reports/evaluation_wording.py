"""The words of the evaluation page."""

from pellucid.domain.certificate import Claim, ClaimKind, Side
from pellucid.domain.reasons import Reason
from pellucid.evaluation.agreement import Agreement, PrevalenceState
from pellucid.evaluation.escalated import EscalatedGroup, Held
from pellucid.evaluation.measures import IntervalKind, Measure, Share
from pellucid.evaluation.selection import Confidence
from pellucid.reports import formats, wording

_CONFIDENCES = {
    Confidence.DROPOUT_MEAN: "MC dropout, |mean logit|",
    Confidence.DROPOUT_SPREAD: "MC dropout, 1 / sd",
    Confidence.ENSEMBLE_MEAN: "Ensemble, |mean logit|",
    Confidence.DETERMINISTIC: "Deterministic, |logit|",
}
_AGREEMENTS = {
    Agreement.SUPPORTED: "Supported: this test alone shows it.",
    Agreement.COMPATIBLE: "Compatible: this test neither shows nor refutes it.",
    Agreement.CONTRADICTED: "Contradicted by this test.",
    Agreement.UNTESTED: "Untested: no specimen here speaks to it.",
}
_PREVALENCES = {
    PrevalenceState.INSIDE: "Inside the certified range.",
    PrevalenceState.UNSURE: "Outside the certified range, though its interval reaches into it.",
    PrevalenceState.OUTSIDE: "Outside the certified range: the predictive values are not promised here.",
    PrevalenceState.UNKNOWN: "Unknown: no specimen with an outcome is covered.",
}
_INTERVALS = {
    IntervalKind.EXACT: "exact",
    IntervalKind.BY_PATIENT: "by patient",
    IntervalKind.EXACT_OVER_PATIENTS: "exact over patients",
}


def confidence_label(confidence: Confidence) -> str:
    """A confidence in a legend."""
    return _CONFIDENCES[confidence]


def agreement_label(state: Agreement) -> str:
    """How a claim stands against the test."""
    return _AGREEMENTS[state]


def prevalence_label(state: PrevalenceState) -> str:
    """How the test's share of mutated specimens stands against the certified range."""
    return _PREVALENCES[state]


def claim_label(claim: Claim) -> str:
    """A claim in a table: `NPV at least 90%`."""
    target = formats.percent(claim.target)
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        return f"mutated answered “{claim.side.value}” at most {target}"
    name = "NPV" if claim.side is Side.NEGATIVE else "PPV"
    if claim.prevalence_max is not None:
        return f"{name} at least {target} with up to {formats.percent(claim.prevalence_max)} mutated"
    return f"{name} at least {target}"


def held_label(group: EscalatedGroup) -> str:
    """What held a group back."""
    if group.held is Held.VARIANCE_RULE:
        return "Variance rule: sd of the logit above its limit"
    if group.held is Held.CERTIFICATE and group.reason is Reason.UNCERTAIN:
        return "Interval not wholly beyond a certified threshold"
    return wording.reason_label(group.reason)


def share_text(share: Share) -> str:
    """A share with its counts and interval, in one line."""
    if share.value is None:
        return "none of none: anything is possible"
    interval = f"{formats.percent(share.low)} to {formats.percent(share.high)}"
    return f"{formats.percent(share.value)} (95% {_INTERVALS[share.interval]} {interval})"


def per_thousand_text(share: Share) -> str:
    """A share as a count in a thousand specimens, with its interval."""
    if share.value is None:
        return "none tested"
    low, high = (formats.number(1000 * value, 2) for value in (share.low, share.high))
    return f"{formats.number(1000 * share.value)} (95% {_INTERVALS[share.interval]} {low} to {high})"


def measure_text(measure: Measure, factor: float = 1.0) -> str:
    """A number with its interval, or why there is none."""
    if measure.value is None:
        return f"not computed: {measure.note}"
    return f"{formats.number(measure.value * factor)} ({measure_range(measure, factor)})"


def measure_range(measure: Measure, factor: float = 1.0) -> str:
    """A number's interval, or why there is none."""
    if measure.low is None or measure.high is None:
        return f"no interval: {measure.note}"
    return f"{formats.number(measure.low * factor)} to {formats.number(measure.high * factor)}"
