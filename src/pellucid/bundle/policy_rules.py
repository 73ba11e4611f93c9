"""Which policies make sense, under which model, and how a mode is put into force."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from pellucid.bundle.policy_errors import (
    ActivationRefused,
    PolicyExpired,
    PolicyForOtherGates,
    PolicyForOtherModel,
    PolicySynthetic,
    PrevalenceOutside,
)
from pellucid.core.clock import utc_now
from pellucid.domain.certificate import Certificate
from pellucid.domain.policy import Mode, SitePolicy

_SOON = timedelta(days=30)


def check_policy(
    policy: SitePolicy, *, model: str, gates: str, synthetic: bool, today: str | None = None
) -> tuple[str, ...]:
    """Hold a policy against the bundle that it should run with.

    One that has expired is no error: it runs, and everything is escalated.

    Args:
        policy: as loaded.
        model: the bundle's model digest.
        gates: digest of the gates of a run with this bundle.
        synthetic: whether the bundle was made from generated slides.
        today: YYYY-MM-DD; the day now (UTC) where omitted.

    Returns:
        What a person should be told all the same, a sentence each.

    Raises:
        PolicyForOtherModel: its certificates are about another model.
        PolicyForOtherGates: they were made with another calibration or other limits.
        PolicySynthetic: they were made on generated slides and the bundle was not, or the other way round.
    """
    if policy.certificates:
        if policy.model != model:
            raise PolicyForOtherModel(
                f"The policy '{policy.name}' is about the model {_short(policy.model)}; the bundle's is "
                f"{_short(model)}."
            )
        if policy.gates != gates:
            raise PolicyForOtherGates(
                f"The policy '{policy.name}' was certified with the gates {_short(policy.gates)}; the bundle's are "
                f"{_short(gates)}."
            )
        if policy.synthetic != synthetic:
            made, other = ("generated", "real") if policy.synthetic else ("real", "generated")
            raise PolicySynthetic(
                f"The policy '{policy.name}' was certified on {made} slides; the bundle was made from {other} ones."
            )
    return tuple(warnings_of(policy, today=today or utc_now()[:10]))


def warnings_of(policy: SitePolicy, *, today: str) -> Iterator[str]:
    """What keeps a policy from deciding alone, or soon will, a sentence each."""
    if not any(_has_threshold(one) for one in policy.certificates):
        yield f"The policy '{policy.name}' certifies no threshold: nothing is decided without a person."
        return
    if policy.expires_on is None:
        return
    if today > policy.expires_on:
        yield f"The policy '{policy.name}' expired on {policy.expires_on}: nothing is decided without a person."
    elif date.fromisoformat(today) + _SOON >= date.fromisoformat(policy.expires_on):
        yield f"The policy '{policy.name}' expires on {policy.expires_on}: certify again before that day."


def activate(
    policy: SitePolicy,
    *,
    mode: Mode,
    by: str,
    reason: str,
    prevalence: float | None = None,
    autonomous_positive: bool = False,
    today: str | None = None,
) -> SitePolicy:
    """The same policy in another mode; to be signed anew by who activates it.

    Args:
        policy: as loaded.
        mode: what is to happen with answers from now on.
        by: who says so.
        reason: why; no patient's name, for it goes into the audit trail.
        prevalence: the share of mutated specimens that the site expects; needed for autonomy.
        autonomous_positive: let "positive" be answered without a person too; off unless asked for each time.
        today: YYYY-MM-DD; the day now (UTC) where omitted.

    Raises:
        ActivationRefused: no name or reason, no certified threshold, or none for positive answers.
        PrevalenceOutside: the expected prevalence is missing, or outside a certificate's range.
        PolicyExpired: the certificates hold no more.
    """
    for what, said in (("the name of who activates it", by), ("a reason", reason)):
        if not said.strip():
            raise ActivationRefused(f"A policy can't be put into force without {what}.")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise PrevalenceOutside(f"A prevalence of {prevalence!r} is no share between 0 and 1.", remedy="Give a share.")
    if autonomous_positive and all(one.positive is None for one in policy.certificates):
        raise ActivationRefused(f"The policy '{policy.name}' has no certified threshold for positive answers.")
    changed = replace(
        policy,
        mode=mode,
        activated_by=by.strip(),
        reason=reason.strip(),
        prevalence=prevalence,
        autonomous_positive=autonomous_positive,
    )
    if mode is Mode.AUTONOMOUS:
        _require_autonomy(changed, today or utc_now()[:10])
    return changed


def _require_autonomy(policy: SitePolicy, today: str) -> None:
    if not any(_has_threshold(one) for one in policy.certificates):
        raise ActivationRefused(f"The policy '{policy.name}' has no certified threshold, so nothing can be autonomous.")
    if policy.expires_on is not None and today > policy.expires_on:
        raise PolicyExpired(f"The certificates of the policy '{policy.name}' held until {policy.expires_on}.")
    if policy.prevalence is None:
        raise PrevalenceOutside(
            "Autonomy needs the prevalence that the site expects.",
            remedy="State the share of mutated specimens among those to come, such as 0.15.",
        )
    if outside := _outside(policy):
        raise PrevalenceOutside(
            f"The expected prevalence {policy.prevalence:g} is outside the range {outside.prevalence_low:.4g} to "
            f"{outside.prevalence_high:.4g} that the certificate of {outside.title} is for.",
            low=outside.prevalence_low,
            high=outside.prevalence_high,
        )


def contradiction(policy: SitePolicy) -> str | None:
    """Why no certification and no activation can have given this policy; None where one can."""
    return next(_contradictions(policy), None)


def _contradictions(policy: SitePolicy) -> Iterator[str]:
    for one in policy.certificates:
        if (one.negative is not None and one.negative > 0) or (one.positive is not None and one.positive < 0):
            yield f"a threshold of {one.title} lies on the other answer's side of one half"
        if not 0 <= one.prevalence_low <= one.prevalence_high <= 1:
            yield f"the prevalence range of {one.title} is none"
        if not (0 < one.delta < 1 and all(0 < claim.delta < 1 for claim in one.claims)):
            yield f"a delta of {one.title} is no chance between 0 and 1"
        if not (math.isfinite(one.tolerance) and one.tolerance >= 0):
            yield f"the tolerance of {one.title} is negative"
        if not 0 <= max(one.n_passed, one.n_positive) <= one.n_specimens:
            yield f"the counts of {one.title} don't fit together"
    if policy.certificates and not (policy.model and policy.gates):
        yield "its certificates name no model or no gates"
    for day in (policy.certified_on, policy.expires_on):
        if day is not None and not _is_day(day):
            yield f"{day!r} is no day"
    if policy.mode is Mode.AUTONOMOUS:
        if not (policy.activated_by and policy.reason):
            yield "it is autonomous, and nobody says that and why they put it into force"
        if not any(_has_threshold(one) for one in policy.certificates):
            yield "it is autonomous without a certified threshold"
        if policy.prevalence is None or _outside(policy):
            yield "it is autonomous for a prevalence that its certificates don't cover"
    if policy.autonomous_positive and all(one.positive is None for one in policy.certificates):
        yield "it lets positive answers be given without a certified threshold for them"


def _outside(policy: SitePolicy) -> Certificate | None:
    """The first certificate whose range doesn't hold the stated prevalence."""
    stated = policy.prevalence
    if stated is None:
        return None
    return next((one for one in policy.certificates if not one.prevalence_low <= stated <= one.prevalence_high), None)


def _has_threshold(certificate: Certificate) -> bool:
    return certificate.negative is not None or certificate.positive is not None


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:16]
