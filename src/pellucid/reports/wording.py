"""The words of the pages: what is said of a verdict, a reason and the limits of all of it."""

import math

from pellucid.domain.decision import Decision, Disposition, Verdict
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Reason
from pellucid.reports import formats
from pellucid.reports.views import RunFacts

RESEARCH_USE = (
    "Research use only. Pellucid has not been validated at this site and is not a medical device. "
    "Do not use anything shown here for diagnosis or treatment."
)
SYNTHETIC = (
    "Synthetic model. It was trained on generated pictures with a planted signal and knows nothing about patients. "
    "Its numbers show how the software works and mean nothing for real tissue."
)
SILENT = (
    "Silent mode. What is shown here is for comparison with molecular results. "
    "Keep it from everybody who treats these patients."
)
ATTENTION = "Attention shows what the model weighted. It is not proof of a mutation, nor a map of tumour."
MOLECULAR = "Only a molecular test establishes the mutation status. Order it as you would without this page."

_LABELS: dict[Reason, str] = {
    Reason.UNCERTAIN: "Uncertain",
    Reason.NEAR_THRESHOLD: "Near a threshold",
    Reason.OUT_OF_DISTRIBUTION: "Unfamiliar slide",
    Reason.OUT_OF_SCOPE: "Out of scope",
    Reason.NO_TUMOUR: "No tumour found",
    Reason.TOO_LITTLE_TISSUE: "Too little tissue",
    Reason.POOR_FOCUS: "Poor focus",
    Reason.ARTEFACT: "Artefact",
    Reason.UNREADABLE_TILES: "Unreadable tiles",
    Reason.SLIDES_DISAGREE: "Slides disagree",
    Reason.CASE_INCOMPLETE: "Case incomplete",
    Reason.STRATUM_UNKNOWN: "Stratum unknown",
    Reason.IDENTITY_CONFLICT: "Identity conflict",
    Reason.NO_CERTIFICATE: "No certificate",
    Reason.MONITORING_HOLD: "Monitoring hold",
    Reason.PROCESSING_FAILED: "Processing failed",
}

_ADVICE: dict[Reason, str] = {
    Reason.UNCERTAIN: "Nothing on this page can settle it; another block with more tumour sometimes does.",
    Reason.NEAR_THRESHOLD: "Treat it as unanswered: a repeat of the scan could fall on the other side.",
    Reason.OUT_OF_DISTRIBUTION: "Check stain, scanner and specimen type; if all are usual here, the model needs such "
    "slides among those it is built on.",
    Reason.OUT_OF_SCOPE: "Give it the H&E scan of this block, under a model that is made for real tissue.",
    Reason.NO_TUMOUR: "Check block and slide; choose one with tumour.",
    Reason.TOO_LITTLE_TISSUE: "Choose a block or level with more tissue.",
    Reason.POOR_FOCUS: "Re-scan the slide.",
    Reason.ARTEFACT: "Clean the slide of pen and debris and re-scan it.",
    Reason.UNREADABLE_TILES: "Copy the file again from the scanner, or re-scan the slide.",
    Reason.SLIDES_DISAGREE: "Look at the scans side by side: one may be of another block, or without tumour.",
    Reason.CASE_INCOMPLETE: "Add the scans that are missing and run again.",
    Reason.STRATUM_UNKNOWN: "State site and specimen type in the cases table and run again.",
    Reason.IDENTITY_CONFLICT: "Find out which case the scan belongs to and correct the cases table.",
    Reason.NO_CERTIFICATE: "See below for what an answer would need.",
    Reason.MONITORING_HOLD: "See the monitoring page for the alarm, and settle its cause first.",
    Reason.PROCESSING_FAILED: "See the failed scan below for its remedy.",
}

_VERDICTS: dict[Verdict, str] = {
    Verdict.NEGATIVE: "Negative",
    Verdict.POSITIVE: "Positive",
    Verdict.UNDETERMINED: "Undetermined",
}
_DISPOSITIONS: dict[Disposition, str] = {
    Disposition.SILENT: "recorded silently",
    Disposition.FOR_REVIEW: "for a pathologist",
    Disposition.REPORTED: "reported",
}
_DISPOSITION_MEANINGS: dict[Disposition, str] = {
    Disposition.SILENT: "Silent mode: it is recorded to be compared with the molecular result, and shown to nobody who "
    "treats the patient.",
    Disposition.FOR_REVIEW: "A pathologist sees this page and decides.",
    Disposition.REPORTED: "It is reported without a person, as the site’s signed policy allows.",
}


def reason_label(reason: Reason) -> str:
    """A reason in a word or three, for chips and charts."""
    return _LABELS[reason]


def reason_advice(reason: Reason) -> str:
    """What a person can do about a reason."""
    return _ADVICE[reason]


def verdict_label(verdict: Verdict) -> str:
    """A verdict as one word."""
    return _VERDICTS[verdict]


def disposition_label(disposition: Disposition) -> str:
    """Where an answer goes, in words."""
    return _DISPOSITIONS[disposition]


def disposition_meaning(disposition: Disposition) -> str:
    """What becomes of an answer, in a sentence."""
    return _DISPOSITION_MEANINGS[disposition]


def answer(decision: Decision) -> str:
    """The first sentence of a specimen's page."""
    return f"{verdict_label(decision.verdict)} — {disposition_label(decision.disposition)}."


def belief(decision: Decision, run: RunFacts) -> str:
    """What the model believes, in one sentence."""
    posterior = decision.posterior
    if posterior is None:
        return "No scan of this specimen gave an answer, so there is no probability."
    return (
        f"The model’s probability of {run.biomarker} is {formats.probability(posterior.probability)} "
        f"({formats.percent(posterior.level)} interval {formats.interval(posterior.low, posterior.high)} over "
        f"{formats.counted(len(posterior.logits), 'pass', 'passes')})."
    )


def why(decision: Decision) -> str:
    """The sentence that opens the list of reasons; empty where nothing holds the specimen back."""
    if not decision.findings:
        return ""
    if decision.verdict is Verdict.UNDETERMINED:
        return "Pellucid does not decide this specimen alone because:"
    return "Noted with this answer:"


def pass_probabilities(posterior: Posterior) -> list[float]:
    """The calibrated probability of each pass."""
    return [0.5 * (1 + math.tanh(0.5 * logit / posterior.temperature)) for logit in posterior.logits]
