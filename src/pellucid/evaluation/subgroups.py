"""The figures by site, specimen type, scanner and whatever else the cases table tells apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.domain.decision import Verdict
from pellucid.evaluation.measures import Measure, Resampling, Share, answered, is_wrong, measure, share
from pellucid.evaluation.specimens import AssessedSpecimen
from pellucid.statistics.metrics import auroc
from pellucid.triage import SCANNER, values_of

LEAST = 10
"""Fewer specimens with an outcome than this say too little for a rate."""
LEAST_PER_CLASS = 5
"""Fewer mutated or wild-type specimens than this say too little for an AUROC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """Specimens with one value of a column.

    `value` is "" where it isn't stated. `n_known` have an outcome, on which the shares rest; with fewer than `LEAST`
    the group is `too_few` and has no shares. `auroc` and `wrong` (at a probability of one half) are of those with an
    answer too. `npv` and `ppv` are of the decided.
    """

    value: str
    n: int
    n_patients: int
    n_known: int
    n_mutated: int
    n_negative: int
    n_undetermined: int
    n_positive: int
    too_few: bool
    auroc: Measure
    escalated: Share | None
    wrong: Share | None
    npv: Share | None
    ppv: Share | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """All groups of one column, the largest first; a specimen with scans of two scanners is in both groups."""

    name: str
    groups: tuple[Subgroup, ...]


def describe_subgroups(specimens: Sequence[AssessedSpecimen], resampling: Resampling) -> tuple[Column, ...]:
    """Divide the specimens by every column that at least one of them states, and by scanner."""
    names = sorted({name for one in specimens for name, value in one.strata.items() if value})
    return tuple(_column(name, specimens, resampling) for name in (*names, SCANNER))


def _column(name: str, specimens: Sequence[AssessedSpecimen], resampling: Resampling) -> Column:
    values = sorted({value for one in specimens for value in _values(one, name)})
    groups = [
        _subgroup(value, [one for one in specimens if value in _values(one, name)], resampling) for value in values
    ]
    return Column(name=name, groups=tuple(sorted(groups, key=lambda group: (-group.n, group.value))))


def _values(one: AssessedSpecimen, name: str) -> set[str]:
    return values_of(one.evidence, name) or {""}


def _subgroup(value: str, members: Sequence[AssessedSpecimen], resampling: Resampling) -> Subgroup:
    known = [one for one in members if one.label is not None]
    verdicts = [one.decision.verdict for one in members]
    too_few = len(known) < LEAST
    return Subgroup(
        value=value,
        n=len(members),
        n_patients=len({one.patient for one in members}),
        n_known=len(known),
        n_mutated=sum(one.label == 1 for one in known),
        n_negative=verdicts.count(Verdict.NEGATIVE),
        n_undetermined=verdicts.count(Verdict.UNDETERMINED),
        n_positive=verdicts.count(Verdict.POSITIVE),
        too_few=too_few,
        auroc=_auroc(members, resampling),
        escalated=None if too_few else share(known, lambda one: _is(one, Verdict.UNDETERMINED), resampling),
        wrong=None if too_few else share([one for one in known if one.posterior is not None], is_wrong, resampling),
        npv=None if too_few else _right(known, Verdict.NEGATIVE, 0, resampling),
        ppv=None if too_few else _right(known, Verdict.POSITIVE, 1, resampling),
    )


def _is(one: AssessedSpecimen, verdict: Verdict) -> bool:
    return one.decision.verdict is verdict


def _right(known: Sequence[AssessedSpecimen], verdict: Verdict, label: int, resampling: Resampling) -> Share:
    return share([one for one in known if _is(one, verdict)], lambda one: one.label == label, resampling)


def _auroc(members: Sequence[AssessedSpecimen], resampling: Resampling) -> Measure:
    sample = answered(members)
    n_mutated = int(sample.labels.sum())
    n_patients = len(set(sample.patients))
    if min(n_mutated, len(sample) - n_mutated) < LEAST_PER_CLASS:
        note = f"Too few: {n_mutated} mutated and {len(sample) - n_mutated} wild type"
        return Measure(value=None, low=None, high=None, n=len(sample), n_patients=n_patients, note=note)
    return measure(
        lambda rows: auroc(sample.logits[rows], sample.labels[rows]), sample.labels, sample.patients, resampling
    )
