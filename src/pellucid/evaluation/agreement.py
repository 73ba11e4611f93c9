"""Whether the specimens at hand agree with what was certified on others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pellucid.domain.certificate import Certificate, Claim, ClaimKind, Side
from pellucid.domain.decision import Verdict
from pellucid.evaluation.guarantee import applies
from pellucid.evaluation.measures import Resampling, Share, share
from pellucid.evaluation.specimens import AssessedSpecimen, Assessment
from pellucid.triage import certificate_for, scores_of, values_of


class Agreement(StrEnum):
    """How a claim stands against a test of its own."""

    SUPPORTED = "supported"
    """The test alone shows it: its whole interval keeps the target."""
    COMPATIBLE = "compatible"
    """The target lies within the test's interval, which neither shows nor refutes it."""
    CONTRADICTED = "contradicted"
    """The target lies outside the test's interval, on the wrong side."""
    UNTESTED = "untested"
    """No specimen of the test speaks to it."""


class PrevalenceState(StrEnum):
    """How the share of mutated specimens stands against the certified range."""

    INSIDE = "inside"
    UNSURE = "unsure"
    """The share lies outside, but its interval reaches into the range."""
    OUTSIDE = "outside"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCheck:
    """A certified claim and the same figure in the test.

    `observed` counts the specimens beyond the threshold, whether or not such answers are switched on: the right ones of
    a predictive value, the missed ones of the mutated.
    """

    claim: Claim
    observed: Share
    state: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCheck:
    """A certificate against the test's specimens that it covers.

    `prevalence` is the share of mutated ones among those, to be held against `low` and `high`.
    """

    title: str
    n_covered: int
    prevalence: Share
    low: float
    high: float
    state: PrevalenceState
    claims: tuple[ClaimCheck, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A value that was not among the certified specimens: how many have it, and how many were answered all the same."""

    name: str
    value: str
    n: int
    n_decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFigures:
    """The test against every certificate of the policy.

    `applies` says whether the certificates are about this model at all; nothing is compared otherwise. `n_uncovered`
    counts specimens that no certificate's stratum fits.
    """

    applies: bool
    certificates: tuple[CertificateCheck, ...]
    unseen: tuple[Unseen, ...]
    n_uncovered: int


def check_agreement(assessment: Assessment, resampling: Resampling) -> AgreementFigures:
    """Hold each certificate against the specimens that it covers."""
    policy = assessment.policy
    if not applies(assessment.terms):
        return AgreementFigures(applies=False, certificates=(), unseen=(), n_uncovered=0)
    fitting = [(one, certificate_for(one.evidence, policy)) for one in assessment.specimens]
    return AgreementFigures(
        applies=True,
        certificates=tuple(
            _check(certificate, [one for one, found in fitting if found is certificate], resampling)
            for certificate in policy.certificates
        ),
        unseen=_count_unseen([(one, found) for one, found in fitting if found is not None]),
        n_uncovered=sum(found is None for _, found in fitting),
    )


def _check(certificate: Certificate, fitting: Sequence[AssessedSpecimen], resampling: Resampling) -> CertificateCheck:
    known = [one for one in fitting if one.label is not None and not _unseen_values(one, certificate)]
    prevalence = share(known, lambda one: one.label == 1, resampling)
    return CertificateCheck(
        title=certificate.title,
        n_covered=len(known),
        prevalence=prevalence,
        low=certificate.prevalence_low,
        high=certificate.prevalence_high,
        state=_prevalence_state(prevalence, certificate),
        claims=tuple(
            _check_claim(claim, certificate, known, resampling)
            for claim in certificate.claims
            if claim.bound is not None and _threshold(certificate, claim.side) is not None
        ),
    )


def _prevalence_state(prevalence: Share, certificate: Certificate) -> PrevalenceState:
    if prevalence.value is None:
        return PrevalenceState.UNKNOWN
    if certificate.prevalence_low <= prevalence.value <= certificate.prevalence_high:
        return PrevalenceState.INSIDE
    overlap = prevalence.low <= certificate.prevalence_high and prevalence.high >= certificate.prevalence_low
    return PrevalenceState.UNSURE if overlap else PrevalenceState.OUTSIDE


def _check_claim(
    claim: Claim, certificate: Certificate, known: Sequence[AssessedSpecimen], resampling: Resampling
) -> ClaimCheck:
    if claim.kind is ClaimKind.MISSED_POSITIVES:
        mutated = [one for one in known if one.label == 1]
        observed = share(mutated, lambda one: _is_beyond(one, certificate, claim.side), resampling)
        kept, broken = observed.high <= claim.target, observed.low > claim.target
    else:
        right = 0 if claim.side is Side.NEGATIVE else 1
        beyond = [one for one in known if _is_beyond(one, certificate, claim.side)]
        observed = share(beyond, lambda one: one.label == right, resampling)
        kept, broken = observed.low >= claim.target, observed.high < claim.target
    return ClaimCheck(claim=claim, observed=observed, state=_state(observed, kept=kept, broken=broken))


def _state(observed: Share, *, kept: bool, broken: bool) -> Agreement:
    if observed.n == 0:
        return Agreement.UNTESTED
    if broken:
        return Agreement.CONTRADICTED
    return Agreement.SUPPORTED if kept else Agreement.COMPATIBLE


def _is_beyond(one: AssessedSpecimen, certificate: Certificate, side: Side) -> bool:
    threshold = _threshold(certificate, side)
    if threshold is None or one.posterior is None or one.findings:
        return False
    scores = scores_of(one.posterior, certificate.tolerance)
    return scores.upper <= threshold if side is Side.NEGATIVE else scores.lower >= threshold


def _threshold(certificate: Certificate, side: Side) -> float | None:
    return certificate.negative if side is Side.NEGATIVE else certificate.positive


def _unseen_values(one: AssessedSpecimen, certificate: Certificate) -> set[tuple[str, str]]:
    return {
        (name, value) for name, seen in certificate.seen.items() for value in values_of(one.evidence, name) - set(seen)
    }


def _count_unseen(fitting: Sequence[tuple[AssessedSpecimen, Certificate]]) -> tuple[Unseen, ...]:
    met: Counter[tuple[str, str]] = Counter()
    decided: Counter[tuple[str, str]] = Counter()
    for one, certificate in fitting:
        values = _unseen_values(one, certificate)
        met.update(values)
        if one.decision.verdict is not Verdict.UNDETERMINED:
            decided.update(values)
    return tuple(
        Unseen(name=name, value=value, n=n, n_decided=decided[name, value])
        for (name, value), n in sorted(met.items(), key=lambda item: (-item[1], item[0]))
    )
