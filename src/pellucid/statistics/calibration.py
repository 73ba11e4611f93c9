"""One temperature, so that a probability means what it says."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, log_expit

from pellucid.statistics.checks import binary_labels, finite_scores
from pellucid.statistics.errors import CalibrationImpossible, ClassesApart, OneClass

_LOG_BOUNDS = (math.log(0.02), math.log(50.0))
_AT_BOUND = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureFit:
    """A temperature and how well it calibrates the cases it was fitted on.

    Attributes:
        temperature: divisor of the raw logits.
        nll_before: mean negative log likelihood of the raw logits, in nats.
        nll_after: the same of the calibrated ones.
        slope: of the calibrated logit in logit P(Y) = intercept + slope * logit; None where the classes don't overlap.
        intercept: likewise.
        n: number of cases.
        n_positive: how many of them are positive.
        separable: the sign of every logit is right, so the temperature says how many cases there were, no more.
    """

    temperature: float
    nll_before: float
    nll_after: float
    slope: float | None
    intercept: float | None
    n: int
    n_positive: int
    separable: bool


def fit_temperature(mean_logits: ArrayLike, labels: ArrayLike, *, min_per_class: int = 5) -> TemperatureFit:
    """Fit the temperature that minimises the negative log likelihood (Guo et al., ICML 2017).

    Fit it on the mean over the Monte-Carlo passes, since that is what production calibrates. The labels are smoothed to
    (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt, 1999): where the logits get every case right, or nearly, the plain
    likelihood grows without end as the temperature falls, and no number of cases shows certainty. The effect fades as
    1 / n. Both likelihoods reported are of the labels themselves.

    Args:
        mean_logits: `(n,)`, mean raw logit of each specimen.
        labels: `(n,)` of 0 and 1.
        min_per_class: refuse with fewer cases than this in either class.

    Raises:
        LabelsInvalid: labels other than 0 and 1, or not as many as logits.
        ProbabilitiesInvalid: a logit is not finite.
        CalibrationImpossible: one class, too few cases, or logits that say nothing or the opposite of the labels.
    """
    logits = finite_scores(mean_logits)
    truth = binary_labels(labels, logits.size)
    n_positive = int(truth.sum())
    n_negative = logits.size - n_positive
    needed = max(1, min_per_class)
    if min(n_positive, n_negative) < needed:
        raise CalibrationImpossible(
            f"{n_positive} positive and {n_negative} negative cases are too few: {needed} of each are needed."
        )
    targets = truth * (n_positive + 1) / (n_positive + 2) + (1 - truth) / (n_negative + 2)
    temperature = _minimise(logits, targets)
    slope, intercept = _calibration_line(logits / temperature, truth)
    return TemperatureFit(
        temperature=temperature,
        nll_before=_nll(logits, truth),
        nll_after=_nll(logits / temperature, truth),
        slope=slope,
        intercept=intercept,
        n=logits.size,
        n_positive=n_positive,
        separable=bool(np.all((2 * truth - 1) * logits > 0)),
    )


def calibration_slope(logits: ArrayLike, labels: ArrayLike) -> float:
    """The slope b of logit P(Y) = a + b * logit (Cox, Biometrika 1958): 1 is calibrated, below 1 overconfident.

    Args:
        logits: `(n,)`, calibrated logits.
        labels: `(n,)` of 0 and 1.

    Raises:
        OneClass: all labels are the same.
        ClassesApart: the logits of the two classes don't overlap.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    return _overlapping_line(logits, labels)[0]


def calibration_intercept(logits: ArrayLike, labels: ArrayLike) -> float:
    """The intercept a of logit P(Y) = a + b * logit, with the slope b free; see `calibration_slope`."""
    return _overlapping_line(logits, labels)[1]


def calibration_in_the_large(logits: ArrayLike, labels: ArrayLike) -> float:
    """The intercept a of logit P(Y) = a + logit: 0 is calibrated, above 0 the logits are too low on the whole.

    Raises:
        OneClass: all labels are the same.
        LabelsInvalid, ProbabilitiesInvalid: see their messages.
    """
    values, truth = _both_classes(logits, labels)
    share = truth.mean()
    centre = math.log(share / (1 - share))
    # one beyond either end, every case is expected below, or above, the share that was seen, also after rounding
    low, high = centre - values.max() - 1, centre - values.min() + 1
    return float(brentq(lambda a: np.mean(expit(values + a)) - share, low, high))


def _overlapping_line(logits: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    values, truth = _both_classes(logits, labels)
    slope, intercept = _calibration_line(values, truth)
    if slope is None or intercept is None:
        raise ClassesApart("The logits of the two classes don't overlap.")
    return slope, intercept


def _both_classes(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = finite_scores(logits)
    truth = binary_labels(labels, values.size)
    if truth.min() == truth.max():
        raise OneClass(f"All {truth.size} labels are {int(truth[0])}.")
    return values, truth


def _nll(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return -float(np.mean(targets * log_expit(logits) + (1 - targets) * log_expit(-logits)))


def _minimise(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    # the likelihood is concave in 1 / temperature; its slope at 0 tells whether there is an optimum above 0
    informative = math.fsum((targets - 0.5) * logits) > 0
    if informative:
        # relative to the logits' own size, so that their unit doesn't matter
        scale = float(np.sqrt(np.mean(logits**2)))
        result = minimize_scalar(
            lambda log_temperature: _nll(logits / (scale * math.exp(log_temperature)), targets),
            bounds=_LOG_BOUNDS,
            method="bounded",
            options={"xatol": 1e-8},
        )
        if result.x < _LOG_BOUNDS[1] - _AT_BOUND:
            return scale * math.exp(float(result.x))
    raise CalibrationImpossible(
        "The logits tell the cases apart no better than chance, so no temperature makes them true."
    )


def _calibration_line(logits: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[float | None, float | None]:
    positive, negative = logits[truth == 1], logits[truth == 0]
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return None, None

    def gradient(line: NDArray[np.float64]) -> NDArray[np.float64]:
        error = expit(line[0] * logits + line[1]) - truth
        return np.array([np.mean(error * logits), np.mean(error)])

    result = minimize(lambda line: _nll(line[0] * logits + line[1], truth), x0=[1.0, 0.0], jac=gradient, method="BFGS")
    return float(result.x[0]), float(result.x[1])
