"""How well a confidence tells right answers from wrong ones, and what is gained by answering only the confident cases.

Every function of `(confidence, correct)` that returns a number is a metric for `patient_bootstrap`. Cases of equal
confidence count as if their order were drawn at random, so the order of the table makes no difference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.statistics.checks import binary_labels, finite_scores
from pellucid.statistics.errors import RateInvalid
from pellucid.statistics.metrics import auroc


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCoverage:
    """The curve of the share of errors among the cases at least as confident as a threshold.

    Each tuple has one entry a distinct confidence, from the most confident on: the threshold, the share of all cases
    that reach it, and the share of wrong answers among those.
    """

    thresholds: tuple[float, ...]
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve (El-Yaniv and Wiener, JMLR 2010).

    Args:
        confidence: `(n,)`, higher is answered first.
        correct: `(n,)` of 0 and 1, whether the answer is right.

    Raises:
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    values, wrong = _ordered(confidence, correct)
    last = _ends_of_ties(values)
    return RiskCoverage(
        thresholds=tuple(values[last].tolist()),
        coverage=tuple(((last + 1) / values.size).tolist()),
        risk=tuple((np.cumsum(wrong)[last] / (last + 1)).tolist()),
    )


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean over i of the share of errors among the i most confident cases."""
    errors = _expected_errors(confidence, correct)
    return float(np.mean(errors / np.arange(1, errors.size + 1)))


def e_aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """AURC less that of a ranking that puts every error last (Geifman, Uziel and El-Yaniv, ICLR 2019).

    The best AURC is that of these very cases, not its limit (1 - acc) + acc ln acc for many, so 0 is the best value.
    """
    errors = _expected_errors(confidence, correct)
    counts = np.arange(1, errors.size + 1)
    best = np.maximum(0.0, counts - (errors.size - errors[-1]))
    return max(0.0, float(np.mean((errors - best) / counts)))


def augrc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the generalised risk-coverage curve: the mean risk of an undetected error.

    The mean over i of the errors among the i most confident cases, as a share of all cases (Traub et al., NeurIPS
    2024).
    """
    errors = _expected_errors(confidence, correct)
    return float(np.mean(errors) / errors.size)


def failure_auroc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """The chance that a right answer is more confident than a wrong one, ties counting half.

    Raises:
        OneClass: all answers are right, or all wrong.
    """
    return auroc(confidence, correct)


def selective_accuracy(confidence: ArrayLike, correct: ArrayLike, *, coverage: float = 0.8) -> float:
    """The share of right answers among the most confident cases, `coverage` of all of them, rounded up.

    Raises:
        RateInvalid: coverage outside (0, 1].
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    if not 0 < coverage <= 1:
        raise RateInvalid(f"The coverage is {coverage}; it must lie above 0 and at most be 1.")
    errors = _expected_errors(confidence, correct)
    # 0.7 of 10 cases are 7, whatever the product's last bit says
    kept = max(1, int(np.ceil(round(coverage * errors.size, 9))))
    return float(1 - errors[kept - 1] / kept)


def _ordered(confidence: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = finite_scores(confidence)
    right = binary_labels(correct, values.size)
    order = np.argsort(-values, kind="stable")
    return values[order], 1 - right[order]


def _ends_of_ties(ordered: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1)


def _expected_errors(confidence: ArrayLike, correct: ArrayLike) -> NDArray[np.float64]:
    # among the i most confident cases, i = 1 ... n; within a tie they rise evenly
    values, wrong = _ordered(confidence, correct)
    ends = _ends_of_ties(values)
    known = np.concatenate([[0.0], np.cumsum(wrong)[ends]])
    counts = np.arange(1, values.size + 1)
    return np.asarray(np.interp(counts, np.concatenate([[0], ends + 1]), known), dtype=np.float64)
