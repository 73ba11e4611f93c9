"""What each gate held back, and how often an answer would have been wrong there."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pellucid.domain.decision import Verdict
from pellucid.domain.reasons import Finding, Reason
from pellucid.evaluation.measures import Resampling, Share, is_wrong, share
from pellucid.evaluation.specimens import AssessedSpecimen


class Held(StrEnum):
    """By what a specimen is held back."""

    GATE = "gate"
    """A limit of the model bundle: quality, distance, tumour, agreement of scans, completeness."""
    VARIANCE_RULE = "variance_rule"
    """The gate on the standard deviation of the logit over the passes."""
    CERTIFICATE = "certificate"
    """The interval is not wholly beyond a certified threshold, or no certificate applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalatedGroup:
    """The specimens held back for one reason.

    Attributes:
        held: by what.
        reason: why.
        n: how many specimens, with or without outcome and answer.
        n_alone: those for which it is the only reason; without it they would have been decided.
        wrong: of those with outcome and answer, the share that a decision at a probability of one half gets wrong.
    """

    held: Held
    reason: Reason
    n: int
    n_alone: int
    wrong: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """Every reason, and the same error rate among other groups to hold it against.

    `answered` are all with outcome and answer, `passed` those that every gate let through, `kept_by_variance` those
    whose spread is within its limit, `decided` those with an answer of their own (wrong by their verdict).
    """

    n_escalated: int
    groups: tuple[EscalatedGroup, ...]
    answered: Share
    passed: Share
    kept_by_variance: Share
    decided: Share


def describe_escalated(specimens: Sequence[AssessedSpecimen], resampling: Resampling) -> Escalated:
    """Count the specimens by what held them back."""
    held = [(one, _held_by(one)) for one in specimens]
    groups = [_group((by, reason), held, resampling) for by in Held for reason in Reason]
    within = [one for one, found in held if (Held.VARIANCE_RULE, Reason.UNCERTAIN) not in found]
    decided = [one for one in specimens if one.decision.verdict is not Verdict.UNDETERMINED and one.label is not None]
    return Escalated(
        n_escalated=sum(one.decision.verdict is Verdict.UNDETERMINED for one in specimens),
        groups=tuple(group for group in groups if group.n),
        answered=_wrong(specimens, resampling),
        passed=_wrong([one for one in specimens if one.passed], resampling),
        kept_by_variance=_wrong(within, resampling),
        decided=share(decided, _contradicts, resampling),
    )


def _held_by(one: AssessedSpecimen) -> set[tuple[Held, Reason]]:
    return {(_by(finding, one), finding.reason) for finding in (*one.findings, *one.decision.findings)}


def _by(finding: Finding, one: AssessedSpecimen) -> Held:
    if finding not in one.findings:
        return Held.CERTIFICATE
    return Held.VARIANCE_RULE if finding.reason is Reason.UNCERTAIN else Held.GATE


def _group(
    why: tuple[Held, Reason],
    specimens: Sequence[tuple[AssessedSpecimen, set[tuple[Held, Reason]]]],
    resampling: Resampling,
) -> EscalatedGroup:
    members = [one for one, found in specimens if why in found]
    return EscalatedGroup(
        held=why[0],
        reason=why[1],
        n=len(members),
        n_alone=sum(found == {why} for _, found in specimens),
        wrong=_wrong(members, resampling),
    )


def _wrong(of: Sequence[AssessedSpecimen], resampling: Resampling) -> Share:
    comparable = [one for one in of if one.label is not None and one.posterior is not None]
    return share(comparable, is_wrong, resampling)


def _contradicts(one: AssessedSpecimen) -> bool:
    return (one.decision.verdict is Verdict.POSITIVE) != (one.label == 1)
