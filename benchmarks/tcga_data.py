"""Real bags of lung cancer slides and the folds that keep each institution's patients together."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from pellucid.domain.cohort import ScanEntry
from pellucid.encoders import Bag
from pellucid.training.bags import EmbeddedScan
from pellucid.training.survey import SurveyedScan

N_FOLDS = 4
LUAD, LUSC = "LUAD", "LUSC"
SUBTYPE, EGFR = "LUAD or LUSC", "EGFR in LUAD"
_EGFR = {"True": 1, "False": 0, "": None}


@dataclass(frozen=True, kw_only=True, eq=False)
class BagOfSlide:
    """A slide: `features` is `(n_regions, 192) float16`, `egfr` 1 mutated, 0 wild type, None unknown."""

    slide: str
    case: str
    institution: str
    subtype: str
    egfr: int | None
    features: np.ndarray


def read_slides(folder: Path):
    features = load_file(folder / "bags.safetensors")["features"]
    with (folder / "slides.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        BagOfSlide(
            slide=row["slide_id"],
            case=row["case_id"],
            institution=row["institution"],
            subtype=row["subtype"],
            egfr=_EGFR[row["egfr_mutated"]],
            features=features[int(row["start"]) : int(row["start"]) + int(row["n_regions"])],
        )
        for row in rows
    ]


def fold_of_institutions(slides):
    """The fold of each institution: the largest first, each to where the shares of the classes stay most alike.

    The classes are LUAD, LUSC and mutated EGFR; one division serves every question.
    """
    cases = {one.case: one for one in slides}.values()
    counts = {
        name: np.array([sum(held(one) for one in cases if one.institution == name) for held in _CLASSES])
        for name in sorted({one.institution for one in cases})
    }
    shares = {name: count / sum(counts.values()) for name, count in counts.items()}
    filled = np.zeros((N_FOLDS, len(_CLASSES)))
    folds = {}
    for name in sorted(shares, key=lambda name: (-shares[name].sum(), name)):
        costs = [np.sum((filled[fold] + shares[name]) ** 2) - np.sum(filled[fold] ** 2) for fold in range(N_FOLDS)]
        folds[name] = int(np.argmin(costs))
        filled[folds[name]] += shares[name]
    return folds


_CLASSES = (
    lambda one: one.subtype == LUAD,
    lambda one: one.subtype == LUSC,
    lambda one: one.subtype == LUAD and one.egfr == 1,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A question: its cases, their slides, labels, folds, and which cases the models may learn from."""

    name: str
    cases: list
    slides: list
    labels: np.ndarray
    folds: np.ndarray
    is_learnt: np.ndarray

    def tuned_on(self, fold):
        """The cases that the model tested on a fold is tuned on: those of the next fold."""
        return np.flatnonzero((self.folds == (fold + 1) % N_FOLDS) & self.is_learnt)

    def learnt_by(self, fold):
        """The cases that the model tested on a fold is trained on: those of the other folds."""
        return np.flatnonzero(~np.isin(self.folds, (fold, (fold + 1) % N_FOLDS)) & self.is_learnt)


def task_of(name, slides, folds, label, *, foreign=lambda _: False):
    """Cases with a label, and foreign ones that are only tested, with a label of -1."""
    by_case = {}
    for one in slides:
        if label(one) is not None or foreign(one):
            by_case.setdefault(one.case, []).append(one)
    labels = np.array([-1 if label(group[0]) is None else label(group[0]) for group in by_case.values()])
    assert all(len({(one.subtype, one.egfr, one.institution) for one in group}) == 1 for group in by_case.values())
    return Task(
        name=name,
        cases=list(by_case),
        slides=list(by_case.values()),
        labels=labels,
        folds=np.array([folds[group[0].institution] for group in by_case.values()]),
        is_learnt=labels >= 0,
    )


def tasks_of(slides, folds):
    subtype = task_of(SUBTYPE, slides, folds, lambda one: {LUAD: 0, LUSC: 1}.get(one.subtype))
    egfr = task_of(
        EGFR,
        slides,
        folds,
        lambda one: one.egfr if one.subtype == LUAD else None,
        foreign=lambda one: one.subtype == LUSC,
    )
    return subtype, egfr


def as_training_scan(one, label):
    """The bag as the package's training takes it; it looks at nothing but the bag, the label and the specimen."""
    entry = ScanEntry(
        case=one.case, specimen=one.case, block="", slide=one.slide, path=Path(one.slide), patient=one.case, label=label
    )
    n = len(one.features)
    return EmbeddedScan(
        scan=SurveyedScan(entry=entry, label=label, digest=one.slide, scale=None, grid=None, features={}),
        bag=Bag(features=one.features, coords=np.zeros((n, 2), dtype=np.int32), provenance={}),
        tiles=np.arange(n),
    )


def describe_folds(slides, folds):
    cases = list({one.case: one for one in slides}.values())
    lines = ["| fold | institutions | LUAD | LUSC | EGFR known (LUAD) | mutated |", "|---|---|---|---|---|---|"]
    for fold in range(N_FOLDS):
        names = [name for name, of in folds.items() if of == fold]
        inside = [one for one in cases if one.institution in names]
        subtypes = Counter(one.subtype for one in inside)
        known = [one.egfr for one in inside if one.subtype == LUAD and one.egfr is not None]
        lines.append(
            f"| {fold + 1} | {len(names)} | {subtypes[LUAD]} | {subtypes[LUSC]} | {len(known)} | {sum(known)} |"
        )
    return "\n".join(lines)
