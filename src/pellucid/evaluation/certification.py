"""From assessed specimens to certificates: planned on the tuning specimens, then tested on the labels. No files."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pellucid.domain.certificate import TOLERANCE, Certificate, Claim, ClaimKind, Shortfall, Side
from pellucid.domain.tuning import TuningSpecimen
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.evaluation.targets import LEAST_SEEN, CertificationTargets, WantedClaim
from pellucid.statistics.certification import (
    SidePlan,
    SideResult,
    certify_missed,
    certify_predictive_value,
    certify_up_to_prevalence,
    missed_bound,
    plan_side,
    result_at,
    shortfall,
)
from pellucid.statistics.exact import clopper_pearson, least_n
from pellucid.triage import SCANNER, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumPlan:
    """A stratum's specimens, and what was decided about its tests before a label was looked at.

    `seen` are the values that enough of the specimens that passed the gates have; `covered`, the indices of specimens
    that have no others.
    """

    stratum: tuple[tuple[str, str], ...]
    specimens: tuple[AssessedSpecimen, ...]
    seen: dict[str, tuple[str, ...]]
    covered: frozenset[int]
    claims: tuple[WantedClaim, ...]
    sides: dict[Side, SidePlan]


def plan(
    specimens: Sequence[AssessedSpecimen], tuning: Sequence[TuningSpecimen], targets: CertificationTargets
) -> tuple[StratumPlan, ...]:
    """Divide the specimens into strata and choose where each test begins; uses no label of theirs.

    Args:
        specimens: one a patient.
        tuning: those of the model bundle, whose outcomes say what to expect.
        targets: what is to be shown.
    """
    groups: dict[tuple[tuple[str, str], ...], list[AssessedSpecimen]] = {}
    for one in specimens:
        stratum = _stratum(one, targets.strata)
        if stratum is not None:
            groups.setdefault(stratum, []).append(one)
    return tuple(
        _plan_stratum(stratum, tuple(members), tuning, targets, n_strata=len(groups))
        for stratum, members in sorted(groups.items())
    )


def certify_stratum(planned: StratumPlan, targets: CertificationTargets) -> Certificate:
    """Open the labels of a stratum and test what was planned."""
    labels = np.array([one.label for one in planned.specimens], dtype=np.int64)
    negative, negative_claims = _certify_negative(planned, labels, targets)
    positive, positive_claims = _certify_positive(planned, labels)
    n, n_positive = len(labels), int(labels.sum())
    low, high = clopper_pearson(n_positive, n)
    shortfalls = _shortfalls(planned, labels, {Side.NEGATIVE: negative, Side.POSITIVE: positive}, targets)
    if negative is not None and targets.prevalence_max is not None:
        # fewer mutated specimens only help the negative answer, but a PPV falls with them
        if positive is not None and low > targets.prevalence_max:
            shortfalls.append(_apart(low, targets.prevalence_max))
            positive, positive_claims = None, [replace(claim, bound=None) for claim in positive_claims]
        low, high = (0.0 if positive is None else low), targets.prevalence_max
    return Certificate(
        stratum=planned.stratum,
        seen=planned.seen,
        claims=(*negative_claims, *positive_claims),
        shortfalls=tuple(shortfalls),
        negative=negative,
        positive=positive,
        tolerance=TOLERANCE,
        n_specimens=n,
        n_passed=int(np.isfinite(_scores(planned, Side.NEGATIVE)).sum()),
        n_positive=n_positive,
        prevalence_low=low,
        prevalence_high=high,
        delta=math.fsum(claim.delta for claim in planned.claims),
    )


def _stratum(one: AssessedSpecimen, names: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """The specimen's values of the stratifying columns; None where one isn't stated, or is ambiguous."""
    pairs = []
    for name in sorted(names):
        values = values_of(one.evidence, name)
        if len(values) != 1 or values == {""}:
            return None
        pairs.append((name, values.pop()))
    return tuple(pairs)


def _plan_stratum(
    stratum: tuple[tuple[str, str], ...],
    members: tuple[AssessedSpecimen, ...],
    tuning: Sequence[TuningSpecimen],
    targets: CertificationTargets,
    *,
    n_strata: int,
) -> StratumPlan:
    names = (*dict.fromkeys((*targets.required, *targets.strata, SCANNER)),)
    seen = {name: _common(members, name) for name in names}
    covered = frozenset(
        nth
        for nth, one in enumerate(members)
        if all(values_of(one.evidence, name) <= set(values) for name, values in seen.items())
    )
    claims = targets.claims(n_strata)
    return StratumPlan(
        stratum=stratum,
        specimens=members,
        seen=seen,
        covered=covered,
        claims=claims,
        sides={
            claim.side: _plan_side(claim, claims, tuning, targets, n=len(members))
            for claim in claims
            if _is_predictive(claim)
        },
    )


def _common(members: Sequence[AssessedSpecimen], name: str) -> tuple[str, ...]:
    # what only specimens have that are never decided alone was not shown to be decided well
    passed = [one for one in members if math.isfinite(one.upper)]
    counts = Counter(value for one in passed for value in values_of(one.evidence, name))
    return tuple(sorted(value for value, count in counts.items() if value and count >= LEAST_SEEN))


def _plan_side(
    claim: WantedClaim,
    claims: Sequence[WantedClaim],
    tuning: Sequence[TuningSpecimen],
    targets: CertificationTargets,
    *,
    n: int,
) -> SidePlan:
    sign = 1.0 if claim.side is Side.NEGATIVE else -1.0
    scores, risks = [], []
    for one in tuning:
        end = one.high_logit if claim.side is Side.NEGATIVE else one.low_logit
        scores.append(sign * end + TOLERANCE if one.passed else math.inf)
        risks.append(float(expit(sign * one.mean_logit)))
    return plan_side(
        scores,
        risks,
        n=n,
        alpha=1.0 - claim.target,
        delta=claim.delta,
        highest=targets.highest,
        prevalence_max=targets.prevalence_max if claim.side is Side.NEGATIVE else None,
        missed=next(
            ((one.target, one.delta) for one in claims if one.side is claim.side and not _is_predictive(one)), None
        ),
    )


def _is_predictive(claim: WantedClaim) -> bool:
    return claim.kind is not ClaimKind.MISSED_POSITIVES


def _scores(planned: StratumPlan, side: Side) -> NDArray[np.float64]:
    """Smaller is more certainly of the side; inf is never decided."""
    return np.array(
        [
            (one.upper if side is Side.NEGATIVE else -one.lower) if nth in planned.covered else math.inf
            for nth, one in enumerate(planned.specimens)
        ]
    )


def _certify_negative(
    planned: StratumPlan, labels: NDArray[np.int64], targets: CertificationTargets
) -> tuple[float | None, list[Claim]]:
    wanted = [claim for claim in planned.claims if claim.side is Side.NEGATIVE]
    scores = _scores(planned, Side.NEGATIVE)
    predictive = next((claim for claim in wanted if _is_predictive(claim)), None)
    missed = next((claim for claim in wanted if not _is_predictive(claim)), None)
    ceiling = math.inf
    if missed is not None:
        allowed = certify_missed(scores[labels == 1], beta=missed.target, delta=missed.delta)
        ceiling = -math.inf if allowed is None else min(allowed, targets.highest)
    result: SideResult | None = None
    limit: float | None = ceiling if math.isfinite(ceiling) else None
    if predictive is not None:
        result = _predictive(planned.sides[Side.NEGATIVE], predictive, scores, labels, targets)
        if missed is not None and result.limit is not None:
            # only thresholds that the test went through are shown; the largest that the other claim allows is taken
            result = result_at(
                planned.sides[Side.NEGATIVE],
                result,
                scores,
                labels == 1,
                limit=ceiling,
                alpha=1.0 - predictive.target,
                delta=predictive.delta,
                prevalence_max=targets.prevalence_max,
            )
        limit = result.limit
    claims = []
    if predictive is not None and result is not None:
        claims.append(_claim(predictive, result, targets))
    if missed is not None:
        claims.append(_missed_claim(missed, scores[labels == 1], limit))
    return limit, claims


def _predictive(
    side: SidePlan,
    claim: WantedClaim,
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    targets: CertificationTargets,
) -> SideResult:
    alpha = 1.0 - claim.target
    if targets.prevalence_max is not None and claim.side is Side.NEGATIVE:
        return certify_up_to_prevalence(
            side, scores, labels, alpha=alpha, delta=claim.delta, prevalence_max=targets.prevalence_max
        )
    wrong = labels == (1 if claim.side is Side.NEGATIVE else 0)
    return certify_predictive_value(side, scores, wrong, alpha=alpha, delta=claim.delta)


def _certify_positive(planned: StratumPlan, labels: NDArray[np.int64]) -> tuple[float | None, list[Claim]]:
    claim = next((one for one in planned.claims if one.side is Side.POSITIVE), None)
    if claim is None:
        return None, []
    result = certify_predictive_value(
        planned.sides[Side.POSITIVE],
        _scores(planned, Side.POSITIVE),
        labels == 0,
        alpha=1.0 - claim.target,
        delta=claim.delta,
    )
    limit = None if result.limit is None else 0.0 - result.limit
    return limit, [
        Claim(
            side=claim.side,
            kind=claim.kind,
            target=claim.target,
            delta=claim.delta,
            bound=None if limit is None else _value_bound(result),
            n=result.n,
            errors=result.errors,
        )
    ]


def _claim(claim: WantedClaim, result: SideResult, targets: CertificationTargets) -> Claim:
    return Claim(
        side=claim.side,
        kind=claim.kind,
        target=claim.target,
        delta=claim.delta,
        bound=None if result.limit is None else _value_bound(result),
        n=result.n,
        errors=result.errors,
        prevalence_max=targets.prevalence_max,
    )


def _value_bound(result: SideResult) -> float | None:
    """The lower bound of the predictive value: the tests bound the share of wrong answers from above."""
    return None if result.bound is None else 1.0 - result.bound


def _missed_claim(claim: WantedClaim, scores: NDArray[np.float64], limit: float | None) -> Claim:
    shown = None if limit is None else missed_bound(scores, limit, delta=claim.delta)
    return Claim(
        side=claim.side,
        kind=claim.kind,
        target=claim.target,
        delta=claim.delta,
        bound=None if shown is None else shown.bound,
        n=len(scores),
        errors=0 if shown is None else shown.missed,
    )


def _apart(low: float, prevalence_max: float) -> Shortfall:
    return Shortfall(
        side=Side.POSITIVE,
        n_more=None,
        sentence=f"The positive side was shown for a prevalence of {low:.3f} and more, the negative one up to "
        f"{prevalence_max:.3f}: no site has both. Certify them apart, or the negative side up to a higher prevalence.",
    )


def _shortfalls(
    planned: StratumPlan,
    labels: NDArray[np.int64],
    limits: dict[Side, float | None],
    targets: CertificationTargets,
) -> list[Shortfall]:
    lacking = []
    for side in dict.fromkeys(claim.side for claim in planned.claims):
        if limits[side] is None:
            needed = _needed(planned, side, labels, targets)
            more = None if needed is None else needed - len(labels)
            n_more = None if more is None else max(1, more)
            lacking.append(Shortfall(side=side, n_more=n_more, sentence=_why(side, more)))
    return lacking


def _needed(planned: StratumPlan, side: Side, labels: NDArray[np.int64], targets: CertificationTargets) -> int | None:
    """How many specimens in all this stratum would probably need for a side's claims together."""
    claims = {_is_predictive(claim): claim for claim in planned.claims if claim.side is side}
    missed, predictive = claims.get(False), claims.get(True)
    if predictive is None:
        if missed is None or not labels.any():
            return None
        return math.ceil(least_n(0, missed.target, missed.delta) / float(labels.mean()))
    needed: int | None = shortfall(
        planned.sides[side],
        _scores(planned, side),
        labels == (1 if side is Side.NEGATIVE else 0),
        alpha=1.0 - predictive.target,
        delta=predictive.delta,
        prevalence_max=targets.prevalence_max if side is Side.NEGATIVE else None,
        missed=None if missed is None else (missed.target, missed.delta),
    )
    return needed


def _why(side: Side, more: int | None) -> str:
    if more is None:
        return (
            f"No number of specimens like these would certify a {side.value} threshold: the model's errors are too "
            "many for the target. Take a lower target or a better model."
        )
    if more <= 0:
        return (
            f"The {side.value} side could have been certified with this many specimens, but chance was against it; "
            "new patients are needed to try again."
        )
    return f"About {more} more specimens, one a patient, would be needed for a {side.value} threshold."
