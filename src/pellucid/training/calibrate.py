"""What is fitted on the tuning split: the temperature, the limits and the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pellucid.aggregators import GatedAttention
from pellucid.bundle import Calibration
from pellucid.domain.posterior import Posterior
from pellucid.domain.reference import ReferenceProfile
from pellucid.statistics import (
    combine_scans,
    distances,
    fit_reference,
    fit_temperature,
    fit_whitening,
    summarise,
)
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import TrainingConfig
from pellucid.training.scans import Progress
from pellucid.uncertainty import run_passes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A scan's raw logits `(n_passes,) float64` and its dropout-free slide embedding `(trunk_dim,) float32`."""

    item: EmbeddedScan
    logits: NDArray[np.float64]
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedSpecimen:
    """A tuning specimen's label and calibrated posterior, all its scans together."""

    specimen: str
    patient: str
    label: int
    posterior: Posterior


def answer_scans(
    bags: Sequence[EmbeddedScan],
    head: GatedAttention,
    *,
    model: str,
    config: TrainingConfig,
    stage: str,
    progress: Progress,
) -> list[Answer]:
    """Run the Monte-Carlo passes of each bag, as at inference."""
    answers = []
    for done, item in enumerate(bags, start=1):
        passes = run_passes(head, item.bag.features, model=model, n_passes=config.n_passes)
        answers.append(Answer(item=item, logits=passes.logits, embedding=passes.embedding))
        progress(stage, done, len(bags))
    return answers


def calibrate(answers: Sequence[Answer], config: TrainingConfig) -> tuple[Calibration, list[TunedSpecimen]]:
    """Fit the temperature on the specimens' mean raw logit and summarise each specimen with it.

    Raises:
        CalibrationImpossible: too few specimens of a class, or logits that say nothing.
    """
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.item.scan.entry.specimen, []).append(answer)
    logits = {name: combine_scans([answer.logits for answer in group]) for name, group in groups.items()}
    labels = {name: group[0].item.scan.label for name, group in groups.items()}
    fit = fit_temperature(
        [float(logits[name].mean()) for name in groups],
        [labels[name] for name in groups],
        min_per_class=config.min_per_class,
    )
    calibration = Calibration(
        temperature=fit.temperature,
        n_passes=config.n_passes,
        level=config.level,
        n_specimens=fit.n,
        n_positive=fit.n_positive,
        nll_before=fit.nll_before,
        nll_after=fit.nll_after,
        slope=fit.slope,
        intercept=fit.intercept,
        separable=fit.separable,
    )
    tuned = [
        TunedSpecimen(
            specimen=name,
            patient=group[0].item.scan.entry.patient,
            label=labels[name],
            posterior=_posterior(logits[name], calibration, n_scans=len(group)),
        )
        for name, group in groups.items()
    ]
    return calibration, tuned


def describe_reference(
    training: Sequence[Answer],
    tuning: Sequence[Answer],
    tuned: Sequence[TunedSpecimen],
    calibration: Calibration,
    config: TrainingConfig,
) -> ReferenceProfile:
    """What familiar slides look like: directions from the training split, limits and values from the tuning split.

    Slides that the directions were fitted on lie nearer to them than new ones, so the limits come from others. The
    monitored values are those of each specimen's first scan, one a specimen, as monitoring takes them.

    Raises:
        ReferenceDegenerate: too few training slides, or all alike.
    """
    embeddings = np.stack([answer.embedding for answer in training])
    away = distances(fit_whitening(embeddings), np.stack([answer.embedding for answer in tuning]))
    limits = config.limits
    profile = fit_reference(
        embeddings,
        distance_limit=float(np.quantile(away, limits.distance_quantile)) * limits.distance_margin,
        sd_limit=float(np.quantile([one.posterior.sd_logit for one in tuned], limits.sd_quantile)),
        features=_monitored(tuning, away, calibration),
    )
    return replace(profile, n_specimens=len({answer.item.scan.entry.specimen for answer in training}))


def _monitored(tuning: Sequence[Answer], away: NDArray[np.float64], calibration: Calibration) -> dict[str, list[float]]:
    first: dict[str, dict[str, float]] = {}
    for answer, far in zip(tuning, away.tolist(), strict=True):
        posterior = _posterior(answer.logits, calibration, n_scans=1)
        outputs = {"mean_logit": posterior.mean_logit, "sd_logit": posterior.sd_logit, "distance": far}
        first.setdefault(answer.item.scan.entry.specimen, answer.item.scan.features | outputs)
    names = {name for values in first.values() for name in values}
    columns = {name: [values[name] for values in first.values() if name in values] for name in names}
    # a value that some scans lack has no distribution to be held against
    return {name: column for name, column in columns.items() if len(column) == len(first) and np.isfinite(column).all()}


def _posterior(logits: NDArray[np.float64], calibration: Calibration, *, n_scans: int) -> Posterior:
    return summarise(logits, temperature=calibration.temperature, n_scans=n_scans, level=calibration.level)
