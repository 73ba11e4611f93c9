"""The three answers against the molecular outcome."""

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.domain.decision import Verdict
from pellucid.evaluation.measures import Resampling, Share, share
from pellucid.evaluation.specimens import AssessedSpecimen

_ORDER = (Verdict.NEGATIVE, Verdict.UNDETERMINED, Verdict.POSITIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """How many specimens with each outcome got a verdict."""

    verdict: Verdict
    mutated: int
    wild_type: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeWay:
    """Counts by verdict and outcome, and the shares that follow; shares are of specimens with an outcome.

    Attributes:
        rows: a row each verdict, `undetermined` in the middle; specimens without an outcome are in no share.
        npv: of those answered negative, the wild type.
        ppv: of those answered positive, the mutated.
        sensitivity: of the mutated that got an answer, those answered positive.
        specificity: of the wild type that got an answer, those answered negative.
        found: of all the mutated, those answered positive.
        cleared: of all the wild type, those answered negative.
        missed: of all the mutated, those answered negative.
        coverage: of all, those that got an answer.
        missed_of_tested: of all, the mutated that were answered negative.
        tests_saved: of all, those answered negative. A positive answer never replaces sequencing and saves no test.
    """

    rows: tuple[VerdictRow, ...]
    npv: Share
    ppv: Share
    sensitivity: Share
    specificity: Share
    found: Share
    cleared: Share
    missed: Share
    coverage: Share
    missed_of_tested: Share
    tests_saved: Share


def three_way(specimens: Sequence[AssessedSpecimen], resampling: Resampling) -> ThreeWay:
    """The table of all specimens, under the decisions that they were assessed with."""
    known = [one for one in specimens if one.label is not None]
    mutated = [one for one in known if one.label == 1]
    wild_type = [one for one in known if one.label == 0]
    decided = [one for one in known if not _is(one, Verdict.UNDETERMINED)]
    negative = [one for one in decided if _is(one, Verdict.NEGATIVE)]
    positive = [one for one in decided if _is(one, Verdict.POSITIVE)]
    return ThreeWay(
        rows=tuple(_row(verdict, specimens) for verdict in _ORDER),
        npv=share(negative, lambda one: one.label == 0, resampling),
        ppv=share(positive, lambda one: one.label == 1, resampling),
        sensitivity=share([one for one in decided if one.label == 1], _is_positive, resampling),
        specificity=share([one for one in decided if one.label == 0], _is_negative, resampling),
        found=share(mutated, _is_positive, resampling),
        cleared=share(wild_type, _is_negative, resampling),
        missed=share(mutated, _is_negative, resampling),
        coverage=share(known, lambda one: not _is(one, Verdict.UNDETERMINED), resampling),
        missed_of_tested=share(known, lambda one: _is_negative(one) and one.label == 1, resampling),
        tests_saved=share(known, _is_negative, resampling),
    )


def _row(verdict: Verdict, specimens: Sequence[AssessedSpecimen]) -> VerdictRow:
    labels = [one.label for one in specimens if _is(one, verdict)]
    return VerdictRow(verdict=verdict, mutated=labels.count(1), wild_type=labels.count(0), unknown=labels.count(None))


def _is(one: AssessedSpecimen, verdict: Verdict) -> bool:
    return one.decision.verdict is verdict


def _is_negative(one: AssessedSpecimen) -> bool:
    return _is(one, Verdict.NEGATIVE)


def _is_positive(one: AssessedSpecimen) -> bool:
    return _is(one, Verdict.POSITIVE)
