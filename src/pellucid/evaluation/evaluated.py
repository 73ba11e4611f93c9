"""What was evaluated: how many patients, specimens and scans, and which of them some figures have to do without."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.evaluation.specimens import AssessedSpecimen


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Specimens that some figures do without: why, from which figures, and their pseudonyms in order."""

    reason: str
    consequence: str
    specimens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The counts behind every figure.

    Attributes:
        n_patients: patients of all specimens.
        n_patients_with_several: those with more than one specimen.
        n_specimens: all specimens of the split.
        n_mutated: with the outcome "mutated".
        n_wild_type: with the outcome "wild type".
        n_unknown: without an outcome.
        n_answered: with a posterior.
        n_passed: that passed every gate.
        n_scans: scans that arrived.
        n_scans_expected: scans that belong to the specimens.
        n_scans_failed: scans that gave no answer.
        failures: their error codes with counts, most frequent first.
        left_out: what some figures do without.
    """

    n_patients: int
    n_patients_with_several: int
    n_specimens: int
    n_mutated: int
    n_wild_type: int
    n_unknown: int
    n_answered: int
    n_passed: int
    n_scans: int
    n_scans_expected: int
    n_scans_failed: int
    failures: tuple[tuple[str, int], ...]
    left_out: tuple[LeftOut, ...]


def count_evaluated(specimens: Sequence[AssessedSpecimen]) -> Evaluated:
    """Count what the figures rest on."""
    of_patient = Counter(one.patient for one in specimens)
    scans = [scan for one in specimens for scan in one.evidence.scans]
    failed = [scan for scan in scans if scan.logits is None]
    codes = Counter(scan.failure.code for scan in failed if scan.failure is not None)
    return Evaluated(
        n_patients=len(of_patient),
        n_patients_with_several=sum(n > 1 for n in of_patient.values()),
        n_specimens=len(specimens),
        n_mutated=sum(one.label == 1 for one in specimens),
        n_wild_type=sum(one.label == 0 for one in specimens),
        n_unknown=sum(one.label is None for one in specimens),
        n_answered=sum(one.posterior is not None for one in specimens),
        n_passed=sum(one.passed for one in specimens),
        n_scans=len(scans),
        n_scans_expected=sum(max(one.evidence.expected, len(one.evidence.scans)) for one in specimens),
        n_scans_failed=len(failed),
        failures=tuple(sorted(codes.items(), key=lambda item: (-item[1], item[0]))),
        left_out=tuple(one for one in _left_out(specimens) if one.specimens),
    )


def _left_out(specimens: Sequence[AssessedSpecimen]) -> tuple[LeftOut, ...]:
    return (
        LeftOut(
            reason="No molecular outcome is known",
            consequence="in no figure but the counts",
            specimens=tuple(one.pseudonym for one in specimens if one.label is None),
        ),
        LeftOut(
            reason="No scan gave an answer",
            consequence="undetermined in the table of answers; not in ROC, calibration, histograms and risk-coverage",
            specimens=tuple(one.pseudonym for one in specimens if one.label is not None and one.posterior is None),
        ),
    )
