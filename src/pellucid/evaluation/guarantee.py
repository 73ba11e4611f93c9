"""What a site's certificates promise, in plain language and with all that it rests on."""

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.special import expit

from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Side
from pellucid.domain.policy import Mode, SitePolicy
from pellucid.pipeline.decisions import Terms

_ANSWERS = {Side.NEGATIVE: ("negative", "wild type"), Side.POSITIVE: ("positive", "mutated")}

ASSUMPTIONS = (
    "Specimens to come are like the certified ones: the same kinds of patients, sites, specimen types and scanners.",
    "They are taken as they come, not picked for being easy, and patients are independent of each other.",
    "The share of mutated specimens stays within the range that is given for each certificate.",
    "The molecular test that gave the certified outcomes is the truth.",
    "Model, calibration, limits and thresholds are, digit by digit, those that were certified.",
    "The certified specimens served nothing else: no training, no tuning, no certification that was not paid for.",
)
BREAKS = (
    "Another share of mutated specimens. Where more are mutated than was certified, more negative answers are wrong.",
    "Another scanner, or another setting of the same one.",
    "Other fixation, cutting or staining, another laboratory, another kind of specimen.",
    "Specimens that are not independent, such as several of one patient or a series sent in for one reason.",
    "Certified specimens used again: each further certification on the same patients spends confidence.",
    "Reading it as a promise about one specimen, or one small group: it speaks of all answered specimens together.",
)
WITHOUT = (
    "Where no certificate applies, the answer is always “undetermined”: a pathologist sees the specimen and a "
    "molecular test decides. So it is for a kind of specimen, site or scanner that was not certified, for one that a "
    "gate holds back, for one whose interval is not wholly beyond a threshold, and for every specimen once a "
    "certificate has expired or model, limits or policy have changed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseLine:
    """One claim in a sentence; `shown` says whether a threshold was accepted for it."""

    side: Side
    shown: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What one certificate promises, and for which specimens.

    `covers` are pairs such as ("site", "north, south"). `negative` and `positive` are thresholds as probabilities, None
    where nothing was shown. The counts are of the certified specimens.
    """

    title: str
    covers: tuple[tuple[str, str], ...]
    lines: tuple[PromiseLine, ...]
    shortfalls: tuple[str, ...]
    negative: float | None
    positive: float | None
    prevalence_low: float
    prevalence_high: float
    n_specimens: int
    n_passed: int
    n_positive: int
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """The guarantee of a policy, assumptions first.

    `in_force` says that at least one threshold applies to the model at hand on the day of the evaluation. `warnings`
    say what stands in its way.
    """

    in_force: bool
    headline: str
    assumptions: tuple[str, ...]
    promises: tuple[Promise, ...]
    breaks: tuple[str, ...]
    without: str
    warnings: tuple[str, ...]


def describe_guarantee(terms: Terms, *, on: str) -> Guarantee:
    """The guarantee of the policy in `terms` on a day (YYYY-MM-DD)."""
    policy = terms.policy
    warnings = tuple(_warnings(terms, on))
    certified = any(one.negative is not None or one.positive is not None for one in policy.certificates)
    in_force = certified and not warnings
    return Guarantee(
        in_force=in_force,
        headline=_headline(policy, certified=certified, in_force=in_force),
        assumptions=ASSUMPTIONS if certified else (),
        promises=tuple(_promise(one, policy) for one in policy.certificates),
        breaks=BREAKS if certified else (),
        without=WITHOUT,
        warnings=warnings,
    )


def applies(terms: Terms) -> bool:
    """Whether the policy's certificates are about the model and the gates at hand."""
    policy = terms.policy
    return bool(policy.certificates) and policy.model == terms.versions.model and policy.gates == terms.gates.digest


def percent(value: float) -> str:
    """A share for a sentence: `95%`, `2.5%`."""
    return f"{100 * value:.3g}%"


def _headline(policy: SitePolicy, *, certified: bool, in_force: bool) -> str:
    if not policy.certificates:
        return (
            f"There is no guarantee: the policy “{policy.name}” holds no certificate, so nothing is decided without a "
            "person, and everything below is a description of this test set only."
        )
    if not certified:
        return (
            "There is no guarantee: no threshold could be certified, so nothing is decided without a person. What was "
            "missing is said below."
        )
    if not in_force:
        return "The certificates do not apply here, for the reasons below; nothing is decided without a person."
    shown = {
        Mode.SILENT: "The policy is silent: answers are recorded and shown to nobody who treats the patient.",
        Mode.FOR_REVIEW: "The policy sends every answer to a pathologist.",
        Mode.AUTONOMOUS: "The policy reports what a certificate covers without a person.",
    }[policy.mode]
    return f"A guarantee was certified on {policy.certified_on}. It holds only as long as the assumptions do. {shown}"


def _warnings(terms: Terms, on: str) -> Iterator[str]:
    policy = terms.policy
    if not policy.certificates:
        return
    if policy.model != terms.versions.model:
        yield "The certificates are about another model than the one evaluated here."
    if policy.gates != terms.gates.digest:
        yield "The certificates were made with another calibration or other limits than those evaluated here."
    if policy.expires_on is not None and on > policy.expires_on:
        yield f"The certificates held until {policy.expires_on}."


def _promise(certificate: Certificate, policy: SitePolicy) -> Promise:
    return Promise(
        title=certificate.title,
        covers=tuple(
            (name.replace("_", " "), ", ".join(value or "not stated" for value in values))
            for name, values in sorted(certificate.seen.items())
        ),
        lines=tuple(
            PromiseLine(
                side=claim.side, shown=_is_shown(claim, certificate), sentence=_sentence(claim, certificate, policy)
            )
            for claim in certificate.claims
        ),
        shortfalls=tuple(one.sentence for one in certificate.shortfalls),
        negative=_probability(certificate.negative),
        positive=_probability(certificate.positive),
        prevalence_low=certificate.prevalence_low,
        prevalence_high=certificate.prevalence_high,
        n_specimens=certificate.n_specimens,
        n_passed=certificate.n_passed,
        n_positive=certificate.n_positive,
        delta=certificate.delta,
    )


def _is_shown(claim: Claim, certificate: Certificate) -> bool:
    threshold = certificate.negative if claim.side is Side.NEGATIVE else certificate.positive
    return claim.bound is not None and threshold is not None


def _sentence(claim: Claim, certificate: Certificate, policy: SitePolicy) -> str:
    said = _claimed(claim)
    if not _is_shown(claim, certificate):
        return f"Not shown, and not promised: {said[0].lower()}{said[1:]}."
    among = "mutated specimens" if claim.kind is ClaimKind.MISSED_POSITIVES else "certified specimens with that answer"
    bad = "answered so" if claim.kind is ClaimKind.MISSED_POSITIVES else "wrong"
    bound = "at most" if claim.kind is ClaimKind.MISSED_POSITIVES else "at least"
    assert claim.bound is not None
    said += (
        f". It rests on {claim.n:,} {among}, {claim.errors:,} of them {bad}, which shows {bound} "
        f"{percent(claim.bound)}. Were the certification repeated on new patients, it would promise something false at "
        f"most {percent(claim.delta)} of the time."
    )
    if claim.side is Side.POSITIVE and not policy.autonomous_positive:
        said += " Positive answers without a person are switched off at this site."
    return said


def _claimed(claim: Claim) -> str:
    answer, truth = _ANSWERS[claim.side]
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        return f"Of the mutated specimens, at most {percent(claim.target)} are answered “{answer}” without a person"
    said = f"Of the specimens answered “{answer}” without a person, at least {percent(claim.target)} are {truth}"
    if claim.kind is ClaimKind.PREDICTIVE_VALUE_UP_TO_PREVALENCE and claim.prevalence_max is not None:
        said += f", as long as at most {percent(claim.prevalence_max)} of all specimens are mutated"
    return said


def _probability(logit: float | None) -> float | None:
    return None if logit is None else float(expit(logit))
