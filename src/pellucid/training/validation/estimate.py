"""Nested cross-validation by patient: what a training's own way of choosing is worth on patients it never met."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pellucid.aggregators import GatedAttentionConfig
from pellucid.domain.cohort import Split
from pellucid.statistics import auroc
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import TrainingConfig
from pellucid.training.determinism import deterministic
from pellucid.training.errors import TrainingConfigInvalid
from pellucid.training.scans import Progress
from pellucid.training.validation.candidates import Candidate, candidates_of
from pellucid.training.validation.cases import Case, cases_of
from pellucid.training.validation.config import Validation
from pellucid.training.validation.errors import SplitForbidden
from pellucid.training.validation.figures import METRICS, RocBand, SeededFigure, mean_over_seeds, roc_band
from pellucid.training.validation.folds import OuterFold, deal, members_of, plan_folds, require_apart
from pellucid.training.validation.inputs import Inputs
from pellucid.training.validation.kept import kept
from pellucid.training.validation.nested import Bench, Choice, FoldResult, choose, run_fold

FOLDS = "folds"
_STAGE = "cross-validation"
_THREADS = 1
_ALLOWED = {Split.TRAINING, Split.TUNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the head of an outer fold says of one of its cases; `temperature` is 1 where none could be fitted."""

    seed: int
    fold: int
    candidate: str
    case: Case
    temperature: float

    @property
    def logit(self) -> float:
        """The calibrated logit."""
        return self.case.logit / self.temperature


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """The result: out-of-fold predictions, sorted by seed and patient, and what follows from them.

    `votes` counts the outer folds that chose each candidate. `by_fold` is the AUROC within each outer fold of each
    seed, which doesn't need the folds' heads to agree on a scale, as the pooled figures do.
    """

    validation: Validation
    candidates: tuple[Candidate, ...]
    n_scans: int
    folds: tuple[FoldResult, ...]
    predictions: tuple[Prediction, ...]
    figures: dict[str, SeededFigure]
    by_fold: tuple[float, ...]
    roc: RocBand
    votes: dict[str, int]


def cross_validate(
    scans: Sequence[EmbeddedScan],
    head_config: GatedAttentionConfig,
    config: TrainingConfig,
    folder: Path,
    progress: Progress,
    *,
    validation: Validation,
) -> CrossValidation:
    """Cross-validate the training of a head; a later start with the same inputs takes over the folds that are done.

    In each outer fold the candidates are tried on inner folds of the other patients, the best one's head is trained on
    all of these, and answers the fold's patients once. So the figures are of the whole procedure, choice included, and
    not of one head. Trained in this way are `seeds * outer_folds * (inner_folds * candidates + 1)` heads.

    Args:
        scans: of the training and tuning splits.
        head_config: the head.
        config: all settings of the training but those that a candidate changes.
        folder: where finished folds are kept.
        progress: told of the stage "cross-validation" after each head; what it raises ends the work between heads.
        validation: folds, seeds and candidates, with at least 2 outer folds.

    Raises:
        TrainingConfigInvalid: there are no outer folds.
        SplitForbidden: a scan of another split, or of none, is among them.
        StratumUnknown, FoldsImpossible: the folds can't be made; known before anything is trained.
        TrainingDiverged: a loss is NaN or infinite.
    """
    if validation.outer_folds == 0:
        raise TrainingConfigInvalid("outer_folds is 0: no cross-validation was asked for.")
    _require_allowed(scans)
    members = members_of([item.scan.entry for item in scans], validation.group)
    plan = plan_folds(members, validation, config.seed)
    bench = _bench(scans, head_config, config, validation)
    inputs = Inputs.of(bench)
    heads = _Heads(progress, each=validation.inner_folds * len(bench.candidates) + 1, trainings=len(plan))
    folds = []
    with deterministic(_THREADS):
        for nth, fold in enumerate(plan):
            told = inputs.told([fold.test, *fold.inner], fold.seed) | {"fold": fold.number}
            folds.append(kept(folder / FOLDS, told, FoldResult, _runs(bench, fold, heads.of(nth))))
            heads.finished(nth)
    return _summary(bench, validation, folds)


def choose_setting(
    scans: Sequence[EmbeddedScan],
    head_config: GatedAttentionConfig,
    config: TrainingConfig,
    folder: Path,
    progress: Progress,
    *,
    validation: Validation,
) -> tuple[Candidate, Choice]:
    """Choose a head's setting as the outer folds do, on `inner_folds` folds of all the scans that are given.

    For a model that is to be tuned afterwards these are the training split's alone: its tuning split must not have been
    chosen on. Nothing is trained where there is only one candidate and nothing to choose.

    Returns:
        The chosen candidate, and how all of them did.

    Raises:
        As `cross_validate`.
    """
    _require_allowed(scans)
    bench = _bench(scans, head_config, config, validation)
    if len(bench.candidates) == 1:
        only = bench.candidates[0]
        patients = {item.scan.entry.patient for item in scans}
        return only, Choice(candidate=only.name, trials=(), temperature=None, n_patients=len(patients))
    members = members_of([item.scan.entry for item in scans], validation.group)
    alone = replace(validation, outer_folds=0)
    inner = deal(members, range(len(members)), validation.inner_folds, parts=("choice", config.seed), validation=alone)
    require_apart(members, inner)
    heads = _Heads(progress, each=validation.inner_folds * len(bench.candidates), trainings=1)
    with deterministic(_THREADS):
        found = kept(
            folder / FOLDS,
            Inputs.of(bench).told(inner, 0),
            Choice,
            lambda: choose(bench, inner, 0, heads.of(0)),
        )
    heads.finished(0)
    return next(one for one in bench.candidates if one.name == found.candidate), found


def _runs(bench: Bench, fold: OuterFold, done: Callable[[], None]) -> Callable[[], FoldResult]:
    return lambda: run_fold(bench, fold, done)


def _bench(
    scans: Sequence[EmbeddedScan], head_config: GatedAttentionConfig, config: TrainingConfig, validation: Validation
) -> Bench:
    return Bench(
        scans=scans,
        head_config=head_config,
        config=config,
        candidates=candidates_of(validation.candidates, config.head),
        inner_tiles=validation.inner_tiles,
    )


def _require_allowed(scans: Sequence[EmbeddedScan]) -> None:
    others = Counter(str(item.scan.entry.split) for item in scans if item.scan.entry.split not in _ALLOWED)
    if others:
        told = ", ".join(f"{count} of the split {name}" for name, count in sorted(others.items()))
        raise SplitForbidden(f"{sum(others.values())} of {len(scans)} scans must not be learnt from: {told}.")


class _Heads:
    """Counts the heads that are trained, also over folds that were taken over."""

    def __init__(self, progress: Progress, *, each: int, trainings: int) -> None:
        self._progress, self._each, self._total = progress, each, each * trainings
        self._done = 0

    def of(self, nth: int) -> Callable[[], None]:
        """What to call after each head of the n-th training."""
        self._done = nth * self._each

        def done() -> None:
            self._done += 1
            if self._done < (nth + 1) * self._each:
                self._progress(_STAGE, self._done, self._total)

        return done

    def finished(self, nth: int) -> None:
        """The n-th training is kept."""
        self._progress(_STAGE, (nth + 1) * self._each, self._total)


def _summary(bench: Bench, validation: Validation, folds: Sequence[FoldResult]) -> CrossValidation:
    predictions = sorted(
        (
            Prediction(
                seed=fold.seed,
                fold=fold.number,
                candidate=fold.choice.candidate,
                case=case,
                temperature=fold.choice.temperature or 1.0,
            )
            for fold in folds
            for case in cases_of(fold.scores)
        ),
        key=lambda one: (one.seed, one.case.patient, one.case.specimens),
    )
    cases = [one.case for one in predictions if one.seed == 0]
    logits = np.array([one.logit for one in predictions]).reshape(validation.seeds, len(cases))
    votes = Counter(fold.choice.candidate for fold in folds)
    return CrossValidation(
        validation=validation,
        candidates=tuple(bench.candidates),
        n_scans=len(bench.scans),
        folds=tuple(folds),
        predictions=tuple(predictions),
        figures={name: mean_over_seeds(name, logits, cases, seed=bench.config.seed) for name in METRICS},
        by_fold=tuple(_area(fold) for fold in folds),
        roc=roc_band(logits, cases, seed=bench.config.seed),
        votes={candidate.name: votes[candidate.name] for candidate in bench.candidates},
    )


def _area(fold: FoldResult) -> float:
    cases = cases_of(fold.scores)
    return auroc([case.logit for case in cases], [case.label for case in cases])
