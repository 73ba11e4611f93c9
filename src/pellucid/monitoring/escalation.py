"""What is escalated, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pellucid.core.telemetry.logs import redact
from pellucid.domain.decision import Decision
from pellucid.domain.observation import Observation
from pellucid.domain.reasons import Finding, Reason
from pellucid.monitoring.confidence import is_escalated, is_escalated_for_slide
from pellucid.monitoring.rates import Count, Rate, Spread, count, rate, spread
from pellucid.monitoring.seen import UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRate:
    """How many decided specimens have a reason; a specimen may have several."""

    reason: Reason
    sentence: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRates:
    """The escalations of the specimens with one scanner, or one value of a stratum."""

    by: str
    group: str
    escalated: Rate
    escalated_for_slide: Rate
    reasons: tuple[ReasonRate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMissed:
    """One measured limit: how many findings say it was missed, and by which values.

    `example` is one finding's text, without paths.
    """

    reason: Reason
    what: str
    n: int
    limit: float | None
    values: Spread | None
    codes: tuple[Count, ...]
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Escalations of all decided specimens; `groups` by scanner and by each stratum, the largest first."""

    n_decided: int
    verdicts: tuple[Count, ...]
    dispositions: tuple[Count, ...]
    escalated: Rate
    escalated_for_slide: Rate
    reasons: tuple[ReasonRate, ...]
    groups: tuple[GroupRates, ...]
    limits: tuple[LimitMissed, ...]


def describe_escalation(observations: Sequence[Observation], decisions: Sequence[Decision]) -> Escalation:
    """Escalations among one model's decisions, one a specimen; its observations tell scanner and strata."""
    names = sorted({name for observation in observations for name in observation.strata})
    groups = _groups("scanner", decisions, {one.specimen: one.scanner for one in observations})
    for name in names:
        groups += _groups(name, decisions, {one.specimen: one.strata.get(name) for one in observations})
    return Escalation(
        n_decided=len(decisions),
        verdicts=count(decision.verdict.value for decision in decisions),
        dispositions=count(decision.disposition.value for decision in decisions),
        escalated=rate(sum(map(is_escalated, decisions)), len(decisions)),
        escalated_for_slide=rate(sum(map(is_escalated_for_slide, decisions)), len(decisions)),
        reasons=_reasons(decisions),
        groups=tuple(groups),
        limits=_limits(finding for decision in decisions for finding in decision.findings),
    )


def _groups(by: str, decisions: Sequence[Decision], groups: Mapping[str, str | None]) -> list[GroupRates]:
    members: dict[str, list[Decision]] = {}
    for decision in decisions:
        members.setdefault(groups.get(decision.specimen) or UNKNOWN, []).append(decision)
    return [
        GroupRates(
            by=by,
            group=group,
            escalated=rate(sum(map(is_escalated, found)), len(found)),
            escalated_for_slide=rate(sum(map(is_escalated_for_slide, found)), len(found)),
            reasons=_reasons(found),
        )
        for group, found in sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _reasons(decisions: Sequence[Decision]) -> tuple[ReasonRate, ...]:
    tally = {reason: sum(reason in decision.reasons for decision in decisions) for reason in Reason}
    present = sorted((reason for reason in Reason if tally[reason]), key=lambda reason: -tally[reason])
    return tuple(
        ReasonRate(reason=reason, sentence=reason.sentence, rate=rate(tally[reason], len(decisions)))
        for reason in present
    )


def _limits(findings: Iterable[Finding]) -> tuple[LimitMissed, ...]:
    alike: dict[tuple[Reason, str, float | None], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.reason, _subject(finding), finding.limit), []).append(finding)
    missed = [
        LimitMissed(
            reason=reason,
            what=what,
            n=len(found),
            limit=limit,
            values=spread(finding.value for finding in found if finding.value is not None),
            codes=count(finding.code for finding in found if finding.code is not None),
            example=redact(found[0].detail),
        )
        for (reason, what, limit), found in alike.items()
    ]
    return tuple(sorted(missed, key=lambda one: (-one.n, one.reason.value, one.what)))


def _subject(finding: Finding) -> str:
    """What was measured: a finding with a limit reads "what: value unit (limit: ...)"."""
    if finding.code is not None:
        return finding.code
    return finding.detail.partition(":")[0] if finding.limit is not None else finding.reason.sentence
