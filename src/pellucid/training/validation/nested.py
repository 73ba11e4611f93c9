"""One outer fold: a setting chosen and a temperature fitted on the rest of the patients, then the fold's answers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.statistics import auroc, fit_temperature
from pellucid.statistics.errors import CalibrationImpossible
from pellucid.training.bags import EmbeddedScan
from pellucid.training.config import TrainingConfig
from pellucid.training.determinism import step_seed
from pellucid.training.head_loop import train_head
from pellucid.training.validation.candidates import Candidate
from pellucid.training.validation.cases import ScanScore, cases_of, score_scans
from pellucid.training.validation.folds import Fold, OuterFold

HeadDone = Callable[[], None]
"""Called after each head that was trained and scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a candidate did in the inner folds: the AUROC of each by patient, their mean, and the log loss of them all.

    The log loss is of the logits as they are; it decides between candidates with the same mean AUROC.
    """

    candidate: str
    auroc: float
    by_fold: tuple[float, ...]
    log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The candidate with the highest mean AUROC, how all did, and the temperature of the chosen one's answers.

    The temperature is fitted on what the inner folds' heads say of patients they didn't learn from; None where their
    answers give none.
    """

    candidate: str
    trials: tuple[Trial, ...]
    temperature: float | None
    n_patients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """An outer fold: what was chosen without it, and what the head so trained says of each of its scans."""

    seed: int
    number: int
    choice: Choice
    scores: tuple[ScanScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bench:
    """What every head of a cross-validation is made from: all scans, the head, the settings and the candidates."""

    scans: Sequence[EmbeddedScan]
    head_config: GatedAttentionConfig
    config: TrainingConfig
    candidates: Sequence[Candidate]
    inner_tiles: int

    def head(self, rows: Fold, candidate: Candidate, seed: int) -> GatedAttention:
        """A head trained on some of the scans."""
        config = replace(self.config, head=candidate.head, seed=step_seed("validation", self.config.seed, seed))
        state, _ = train_head(self._of(rows), self.head_config, config, _silent)
        return load_head(self.head_config, state)

    def score(self, head: GatedAttention, rows: Fold, *, max_tiles: int | None = None) -> list[ScanScore]:
        """What a head says of some of the scans."""
        return score_scans(head, self._of(rows), max_tiles=max_tiles, seed=self.config.seed)

    def _of(self, rows: Fold) -> list[EmbeddedScan]:
        return [self.scans[row] for row in rows]


def run_fold(bench: Bench, fold: OuterFold, done: HeadDone) -> FoldResult:
    """Choose on the inner folds, train on all of them, and answer the test scans, which nothing else looks at."""
    choice = choose(bench, fold.inner, fold.seed, done)
    chosen = next(one for one in bench.candidates if one.name == choice.candidate)
    head = bench.head(fold.training, chosen, fold.seed)
    result = FoldResult(seed=fold.seed, number=fold.number, choice=choice, scores=tuple(bench.score(head, fold.test)))
    done()
    return result


def choose(bench: Bench, inner: Sequence[Fold], seed: int, done: HeadDone) -> Choice:
    """Try every candidate on the inner folds: each is trained on all but one and scored on that one."""
    trials, said = [], {}
    for candidate in bench.candidates:
        by_fold = []
        for held_out in inner:
            rest = tuple(sorted(row for fold in inner if fold is not held_out for row in fold))
            head = bench.head(rest, candidate, seed)
            by_fold.append(bench.score(head, held_out, max_tiles=bench.inner_tiles))
            done()
        said[candidate.name] = [score for scores in by_fold for score in scores]
        trials.append(_trial(candidate, by_fold))
    best = min(trials, key=lambda trial: (-trial.auroc, trial.log_loss))
    cases = cases_of(said[best.candidate])
    return Choice(
        candidate=best.candidate,
        trials=tuple(trials),
        temperature=_temperature(said[best.candidate], bench.config),
        n_patients=len({case.patient for case in cases}),
    )


def _trial(candidate: Candidate, by_fold: Sequence[Sequence[ScanScore]]) -> Trial:
    areas, losses = [], []
    for scores in by_fold:
        cases = cases_of(scores)
        areas.append(auroc([case.logit for case in cases], [case.label for case in cases]))
        losses += [float(np.logaddexp(0.0, (1 - 2 * case.label) * case.logit)) for case in cases]
    return Trial(
        candidate=candidate.name,
        auroc=math.fsum(areas) / len(areas),
        by_fold=tuple(areas),
        log_loss=math.fsum(losses) / len(losses),
    )


def _temperature(scores: Sequence[ScanScore], config: TrainingConfig) -> float | None:
    cases = cases_of(scores)
    try:
        return fit_temperature(
            [case.logit for case in cases], [case.label for case in cases], min_per_class=config.min_per_class
        ).temperature
    except CalibrationImpossible:
        return None


def _silent(*_: object) -> None:
    pass
