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
