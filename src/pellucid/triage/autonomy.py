"""Whether a site's certificates let a specimen be decided without a person, and if not, why."""

from collections.abc import Iterator
from dataclasses import dataclass

from scipy.special import expit

from pellucid.domain.certificate import Certificate, Side
from pellucid.domain.decision import Verdict
from pellucid.domain.policy import SitePolicy
from pellucid.domain.posterior import Posterior
from pellucid.domain.reasons import Finding, Reason
from pellucid.statistics.posterior import logit_interval
from pellucid.triage.evidence import Gates, SpecimenEvidence

SCANNER = "scanner"
_EVEN_LOGIT = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The two numbers that thresholds are held against, in calibrated logits.

    `upper` is the upper end of the interval plus the tolerance, `lower` its lower end less the tolerance. A mean beyond
    a threshold whose passes straddle it is thus never decided, nor is one that other hardware could move across.
    """

    upper: float
    lower: float


def scores_of(posterior: Posterior, tolerance: float) -> Scores:
    """The scores of a posterior; one fixed function of the passes, as certification needs it."""
    low, high = logit_interval(posterior)
    return Scores(upper=high + tolerance, lower=low - tolerance)


def autonomous_verdict(
    evidence: SpecimenEvidence, posterior: Posterior | None, *, gates: Gates, policy: SitePolicy, model: str
) -> tuple[Verdict, tuple[Finding, ...]]:
    """What the certificates allow, gates aside: a verdict without findings, or `undetermined` with every reason.

    Args:
        evidence: the specimen.
        posterior: of all its scans; None where none was scored.
        gates: the model bundle's calibration and limits.
        policy: the site's policy.
        model: the model digest.
    """
    findings = [*_about_strata(evidence, policy), *_about_policy(evidence, gates, policy, model)]
    if findings:
        return Verdict.UNDETERMINED, tuple(findings)
    found = certificate_for(evidence, policy)
    if found is None:
        return Verdict.UNDETERMINED, (_no_certificate("No certificate covers specimens such as this one"),)
    unseen = tuple(_about_unseen(evidence, found))
    if posterior is None or unseen:
        return Verdict.UNDETERMINED, unseen
    return _held_against(found, posterior, policy)


def certificate_for(evidence: SpecimenEvidence, policy: SitePolicy) -> Certificate | None:
    """The certificate of the specimen's stratum: the most specific one whose values it has."""
    fitting = [
        one for one in policy.certificates if all(values_of(evidence, name) == {value} for name, value in one.stratum)
    ]
    return max(fitting, key=lambda one: len(one.stratum), default=None)


def values_of(evidence: SpecimenEvidence, name: str) -> set[str]:
    """What a specimen has under a stratifying name; "scanner" may be several, those of the scans that were opened."""
    if name == SCANNER:
        return {scan.scanner or "" for scan in evidence.scans if scan.synthetic is not None}
    return {evidence.strata.get(name, "")}


def _about_strata(evidence: SpecimenEvidence, policy: SitePolicy) -> Iterator[Finding]:
    missing = [name for name in policy.required_strata if not evidence.strata.get(name)]
    if missing:
        yield Finding(reason=Reason.STRATUM_UNKNOWN, detail=f"Not stated: {', '.join(missing)}")


def _about_policy(evidence: SpecimenEvidence, gates: Gates, policy: SitePolicy, model: str) -> Iterator[Finding]:
    if not policy.certificates:
        yield _no_certificate(
            f"The policy '{policy.name}' holds no certificate, so nothing is decided without a person"
        )
        return
    if policy.model != model:
        yield _no_certificate("The certificates of this policy are about another model")
    elif policy.gates != gates.digest:
        yield _no_certificate("The certificates of this policy were made with another calibration or other limits")
    # an unstated day is no day on which they hold
    if policy.expires_on is not None and not "" < evidence.on <= policy.expires_on:
        yield _no_certificate(f"The certificates of this policy held until {policy.expires_on}")


def _about_unseen(evidence: SpecimenEvidence, certificate: Certificate) -> Iterator[Finding]:
    for name, seen in sorted(certificate.seen.items()):
        for value in sorted(values_of(evidence, name) - set(seen)):
            said = f"The {name.replace('_', ' ')} {value!r}" if value else f"An unstated {name.replace('_', ' ')}"
            yield Finding(reason=Reason.STRATUM_UNKNOWN, detail=f"{said} was not among the certified specimens")


def _held_against(
    certificate: Certificate, posterior: Posterior, policy: SitePolicy
) -> tuple[Verdict, tuple[Finding, ...]]:
    scores = scores_of(posterior, certificate.tolerance)
    if certificate.negative is not None and scores.upper <= certificate.negative:
        return Verdict.NEGATIVE, ()
    if certificate.positive is not None and scores.lower >= certificate.positive:
        if policy.autonomous_positive:
            return Verdict.POSITIVE, ()
        return Verdict.UNDETERMINED, (
            _no_certificate("Beyond the certified positive threshold, but positive answers without a person are off"),
        )
    return Verdict.UNDETERMINED, (_why_between(certificate, posterior, scores),)


def _why_between(certificate: Certificate, posterior: Posterior, scores: Scores) -> Finding:
    for side, threshold, end, inside in (
        (Side.NEGATIVE, certificate.negative, scores.upper, scores.upper <= _EVEN_LOGIT),
        (Side.POSITIVE, certificate.positive, scores.lower, scores.lower >= _EVEN_LOGIT),
    ):
        if threshold is None:
            if inside:
                return _no_certificate(f"No {side.value} threshold could be certified: {_shortfall(certificate, side)}")
        elif abs(end - threshold) <= 2 * certificate.tolerance:
            return _finding(
                Reason.NEAR_THRESHOLD,
                f"The interval ends at {expit(end):.4f}, the certified {side.value} threshold is "
                f"{expit(threshold):.4f}",
                end,
                threshold,
            )
        elif (posterior.mean_logit <= threshold) if side is Side.NEGATIVE else (posterior.mean_logit >= threshold):
            return _finding(
                Reason.UNCERTAIN,
                f"The passes straddle the certified {side.value} threshold of {expit(threshold):.3f}: "
                f"{posterior.low:.3f} to {posterior.high:.3f} around {posterior.probability:.3f}",
                end,
                threshold,
            )
    between = " and ".join(
        f"{expit(value):.3f}" for value in (certificate.negative, certificate.positive) if value is not None
    )
    return _finding(
        Reason.UNCERTAIN,
        f"A probability of {posterior.probability:.3f} ({posterior.low:.3f} to {posterior.high:.3f}) is not beyond a "
        f"certified threshold ({between or 'there is none'})",
        posterior.mean_logit,
        None,
    )


def _shortfall(certificate: Certificate, side: Side) -> str:
    return " ".join(one.sentence for one in certificate.shortfalls if one.side is side) or "too few specimens"


def _finding(reason: Reason, detail: str, value: float, limit: float | None) -> Finding:
    # as probabilities, like every number that a page shows
    return Finding(
        reason=reason,
        detail=detail,
        value=float(expit(value)),
        limit=None if limit is None else float(expit(limit)),
    )


def _no_certificate(detail: str) -> Finding:
    return Finding(reason=Reason.NO_CERTIFICATE, detail=detail)
