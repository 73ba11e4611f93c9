"""Whether a probability means what it says."""

from dataclasses import dataclass

from pellucid.evaluation.measures import Answered, Measure, Resampling, measure
from pellucid.statistics.calibration import calibration_in_the_large, calibration_intercept, calibration_slope
from pellucid.statistics.curves import ReliabilityBin, reliability_bins
from pellucid.statistics.metrics import brier, ece, log_loss

N_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Calibration of the mean logit.

    Attributes:
        bins: of about equal mass, each with its exact interval, which takes specimens for independent.
        slope: 1 is calibrated, below 1 overconfident.
        intercept: with the slope free.
        in_the_large: the intercept with slope 1; 0 is calibrated, above 0 the probabilities are too low on the whole.
        ece: debiased root mean square error over the bins.
        brier: mean squared difference of probability and outcome.
        log_loss: in nats.
    """

    bins: tuple[ReliabilityBin, ...]
    slope: Measure
    intercept: Measure
    in_the_large: Measure
    ece: Measure
    brier: Measure
    log_loss: Measure


def describe_reliability(sample: Answered, resampling: Resampling) -> Reliability:
    """Hold the probabilities against the outcomes."""
    p, logits, y = sample.probabilities, sample.logits, sample.labels
    return Reliability(
        bins=reliability_bins(p, y, n_bins=N_BINS) if len(sample) else (),
        slope=measure(lambda rows: calibration_slope(logits[rows], y[rows]), y, sample.patients, resampling),
        intercept=measure(lambda rows: calibration_intercept(logits[rows], y[rows]), y, sample.patients, resampling),
        in_the_large=measure(
            lambda rows: calibration_in_the_large(logits[rows], y[rows]), y, sample.patients, resampling
        ),
        ece=measure(lambda rows: ece(p[rows], y[rows], n_bins=N_BINS), y, sample.patients, resampling),
        brier=measure(lambda rows: brier(p[rows], y[rows]), y, sample.patients, resampling),
        log_loss=measure(lambda rows: log_loss(p[rows], y[rows]), y, sample.patients, resampling),
    )
