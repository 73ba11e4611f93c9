"""Posteriors of three kinds from what the heads said, and their figures with intervals over resampled patients."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import expit

from benchmarks.tcga_data import N_FOLDS
from pellucid.domain.certificate import TOLERANCE
from pellucid.statistics import (
    augrc,
    auroc,
    average_precision,
    brier,
    calibration_in_the_large,
    calibration_slope,
    e_aurc,
    failure_auroc,
    fit_temperature,
    logit_interval,
    patient_bootstrap,
    selective_accuracy,
    summarise,
)
from pellucid.statistics.errors import CalibrationImpossible
from pellucid.training.config import TrainingConfig

CONFIG = TrainingConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One kind of posterior for every case, `(n_seeds, n)` each; an ensemble has one row.

    `logit` is the mean calibrated logit, `sd` and `information` its spread over passes and the mutual information,
    `high` the interval's upper end with the tolerance. `temperatures` is `(n_seeds, N_FOLDS)`, NaN where none could be
    fitted and 1 was taken.
    """

    logit: np.ndarray
    sd: np.ndarray
    information: np.ndarray
    high: np.ndarray
    temperatures: np.ndarray


def kind_of(task, tests, tunings):
    """Calibrate raw logits `(n_seeds, n, n_passes)` of the tests by those of the tuning specimens; and the latter too.

    Returns:
        The kind as tests and as tuning specimens, NaN where a case has no such role.
    """
    n_seeds, n, _ = tests.shape
    temperatures = np.full((n_seeds, N_FOLDS), np.nan)
    test, tuning = np.full((2, 4, n_seeds, n), np.nan)
    for seed, fold in np.ndindex(n_seeds, N_FOLDS):
        tested, tuned = np.flatnonzero(task.folds == fold), task.tuned_on(fold)
        temperatures[seed, fold] = _temperature(tunings[seed, tuned], task.labels[tuned])
        for values, raw, rows in ((test, tests, tested), (tuning, tunings, tuned)):
            for row in rows:
                values[:, seed, row] = _summary(raw[seed, row], np.nan_to_num(temperatures[seed, fold], nan=1.0))
    return tuple(
        Kind(logit=values[0], sd=values[1], information=values[2], high=values[3], temperatures=temperatures)
        for values in (test, tuning)
    )


def _temperature(raw, labels):
    try:
        return fit_temperature(raw.mean(axis=1), labels, min_per_class=CONFIG.min_per_class).temperature
    except CalibrationImpossible:
        return np.nan


def _summary(raw, temperature):
    posterior = summarise(raw, temperature=temperature, n_scans=1, level=CONFIG.level)
    _, high = logit_interval(posterior)
    return posterior.mean_logit, posterior.sd_logit, posterior.mutual_information, high + TOLERANCE


def kinds_of(task, tests, tunings):
    """The plain head, its passes and the ensemble of the seeds' heads, as tests and as tuning specimens, by name."""
    plain, tuned_plain = (np.stack([one.plain for one in said]) for said in (tests, tunings))
    passes, tuned_passes = (np.stack([one.passes for one in said]) for said in (tests, tunings))
    return {
        "deterministic": kind_of(task, plain[..., None], tuned_plain[..., None]),
        "MC dropout": kind_of(task, passes, tuned_passes),
        "ensemble": kind_of(task, plain.T[None], tuned_plain.T[None]),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """The labels and patients that figures are about; a metric gets the rows of a resample and all else by closure."""

    labels: np.ndarray
    patients: list
    n_resamples: int

    def interval(self, metric):
        found = patient_bootstrap(
            lambda rows, _: metric(rows.astype(np.int64)),
            np.arange(len(self.labels)),
            self.labels,
            self.patients,
            n_resamples=self.n_resamples,
        )
        return {"estimate": found.estimate, "low": found.low, "high": found.high, "undefined": found.n_undefined}


RANKING = {
    "AUROC": auroc,
    "AUPRC": average_precision,
    "Brier": lambda logit, labels: brier(expit(logit), labels),
    "calibration slope": calibration_slope,
    "calibration in the large": calibration_in_the_large,
    "accuracy": lambda logit, labels: float(np.mean((logit >= 0) == (labels == 1))),
}
AUGRC, LESS = "AUGRC x 1000", "AUGRC x 1000 less the plain head's"
SELECTIVE = {
    AUGRC: lambda confidence, correct: 1000 * augrc(confidence, correct),
    "E-AURC x 1000": lambda confidence, correct: 1000 * e_aurc(confidence, correct),
    "failure AUROC": failure_auroc,
    "accuracy at 80 %": partial(selective_accuracy, coverage=0.8),
    "accuracy at 50 %": partial(selective_accuracy, coverage=0.5),
}
PLAIN = "deterministic, mean logit"


@dataclass(frozen=True, kw_only=True, eq=False)
class Way:
    """A way to answer and to say how sure the answer is: `logit` and `confidence` are `(n_seeds, n)`."""

    logit: np.ndarray
    confidence: np.ndarray
    is_by_mean: bool

    def ranking(self, metric, labels, rows):
        """A metric of logits and labels, averaged over the seeds."""
        return float(np.mean([metric(logit, labels[rows]) for logit in self.logit[:, rows]]))

    def selective(self, metric, labels, rows):
        """A metric of confidences and right answers, averaged over the seeds."""
        return float(np.mean(self.by_seed(metric, labels, rows)))

    def by_seed(self, metric, labels, rows):
        correct = (self.logit[:, rows] >= 0) == (labels[rows] == 1)
        return [metric(*pair) for pair in zip(self.confidence[:, rows], correct, strict=True)]


def ways_of(kinds, rows):
    """Each kind with the size of its mean logit as confidence, and, where its passes differ, with their sd."""
    ways = {}
    for name, (kind, _) in kinds.items():
        logit, sd = kind.logit[:, rows], kind.sd[:, rows]
        ways[f"{name}, mean logit"] = Way(logit=logit, confidence=np.abs(logit), is_by_mean=True)
        if sd.any():
            ways[f"{name}, sd"] = Way(logit=logit, confidence=-sd, is_by_mean=False)
    return ways


def worth(cases, ways):
    """Every figure of every way, averaged over the seeds, and its AUGRC less that of the plain head."""
    return {name: _figures(cases, way, ways[PLAIN]) for name, way in ways.items()}


def _figures(cases, way, plain):
    labels = cases.labels

    def augrc_less(rows):
        return way.selective(SELECTIVE[AUGRC], labels, rows) - plain.selective(SELECTIVE[AUGRC], labels, rows)

    found = {name: cases.interval(partial(way.selective, metric, labels)) for name, metric in SELECTIVE.items()}
    found["by seed"] = {AUGRC: way.by_seed(SELECTIVE[AUGRC], labels, slice(None))}
    if way.is_by_mean:
        found |= {name: cases.interval(partial(way.ranking, metric, labels)) for name, metric in RANKING.items()}
        found["by seed"]["AUROC"] = [auroc(logit, labels) for logit in way.logit]
    if way is not plain:
        found[LESS] = cases.interval(augrc_less)
    return found


def auroc_within(folds, scores, labels):
    """The chance that a foreign case scores above a familiar one of the same model: by fold, weighed by its pairs."""
    total, pairs = 0.0, 0
    for fold in range(N_FOLDS):
        inside = folds == fold
        n_foreign = int(labels[inside].sum())
        n = n_foreign * (int(inside.sum()) - n_foreign)
        if n:
            total, pairs = total + n * auroc(scores[inside], labels[inside]), pairs + n
    return total / pairs
