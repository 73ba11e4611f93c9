"""What a cross-validation leaves to read: JSON for programs, a table of predictions, a summary and a picture."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pellucid.core.files import write_bytes, write_json, write_text
from pellucid.core.serial import to_plain
from pellucid.training.validation.config import PATIENT
from pellucid.training.validation.estimate import CrossValidation
from pellucid.training.validation.nested import Choice
from pellucid.training.validation.roc import draw_roc

JSON = "cross_validation.json"
CSV = "out_of_fold.csv"
MARKDOWN = "cross_validation.md"
PNG = "cross_validation.png"

_COLUMNS = ("seed", "fold", "setting", "patient", "specimens", "label", "raw_logit", "temperature", "logit")


def write_report(found: CrossValidation, folder: Path, *, final: Choice | None = None) -> None:
    """Write `cross_validation.json`, `.md` and `.png`, and `out_of_fold.csv`, each whole or not at all.

    The table names patients as the cohort's does, so it belongs where the cohort table may be.

    Args:
        found: the cross-validation.
        folder: where the files go.
        final: how the deployed model's setting was chosen, where that was done.

    Raises:
        StorageFull: the disk is full.
    """
    write_json(folder / JSON, as_plain(found, final))
    write_text(folder / CSV, _table(found))
    write_text(folder / MARKDOWN, summary(found, final))
    write_bytes(folder / PNG, draw_roc(found.roc, found.figures["AUROC"], n_patients=_n_patients(found)))


def as_plain(found: CrossValidation, final: Choice | None = None) -> dict[str, Any]:
    """Plain JSON types; names no patient."""
    return {
        "validation": to_plain(found.validation),
        "candidates": {one.name: to_plain(one.head) for one in found.candidates},
        "scans": found.n_scans,
        "patients": _n_patients(found),
        "positive_patients": _n_positive(found),
        "figures": {name: asdict(figure) for name, figure in found.figures.items()},
        "guessing": guessing(found),
        "votes": found.votes,
        "folds": [
            {
                "seed": fold.seed,
                "fold": fold.number,
                "scans": len(fold.scores),
                "auroc": area,
                "choice": asdict(fold.choice),
            }
            for fold, area in zip(found.folds, found.by_fold, strict=True)
        ],
        "roc": asdict(found.roc),
        "final_choice": None if final is None else asdict(final),
    }


def guessing(found: CrossValidation) -> dict[str, float]:
    """What the probability's figures would be of somebody who knows nothing but the share of positive cases."""
    share = sum(one.case.label for one in found.predictions) / len(found.predictions)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    return {"Brier score": share * (1 - share), "Log loss (nats)": entropy}


def summary(found: CrossValidation, final: Choice | None = None) -> str:
    """The result in words, Markdown."""
    return "\n".join([*_what_was_done(found), *_figures(found), *_choices(found), *_final(final), *_limits()]) + "\n"


def _what_was_done(found: CrossValidation) -> Iterator[str]:
    how = found.validation
    together = "Patients stay together" if how.group == PATIENT else f"Patients and every {how.group!r} stay together"
    yield "# Cross-validation"
    yield ""
    yield (
        f"{_n_patients(found)} patients ({_n_positive(found)} positive), {found.n_scans} scans of the training and "
        f"tuning splits; {how.outer_folds} outer folds, {how.inner_folds} inner folds, seeds: {how.seeds}. {together}."
    )
    yield ""
    yield (
        "The setting of each outer fold's head was chosen, and its temperature fitted, on inner folds of the other "
        "patients. Each figure below is of patients whom no part of that met."
    )
    yield ""


def _figures(found: CrossValidation) -> Iterator[str]:
    yield "| figure, by patient | mean over seeds | 95% interval | sd over seeds |"
    yield "|---|---|---|---|"
    for name, figure in found.figures.items():
        one = figure.interval
        spread = "one seed" if figure.sd is None else f"{figure.sd:.3f}"
        yield f"| {name} | {one.estimate:.3f} | {one.low:.3f} to {one.high:.3f} | {spread} |"
    yield ""
    yield (
        f"AUROC within single outer folds: {min(found.by_fold):.3f} to {max(found.by_fold):.3f}. "
        f"{_without_temperature(found)}"
    )
    yield ""
    guess = guessing(found)
    yield (
        f"Answering every case with the share of positive ones would score a Brier score of {guess['Brier score']:.3f} "
        f"and a log loss of {guess['Log loss (nats)']:.3f}. Heads learn from classes of equal weight, and a "
        "temperature doesn't move their answers towards a class that is commoner: where one is, these two figures say "
        "more of that than of the ranking."
    )
    yield ""


def _without_temperature(found: CrossValidation) -> str:
    count = sum(fold.choice.temperature is None for fold in found.folds)
    if count == 0:
        return "Every fold's logits were divided by a temperature."
    return f"In {count} of {len(found.folds)} folds no temperature could be fitted: their logits are as they were."


def _choices(found: CrossValidation) -> Iterator[str]:
    yield "## What was chosen"
    yield ""
    if len(found.candidates) == 1:
        yield "There was one setting and nothing to choose."
    else:
        yield "By the mean AUROC of the inner folds, in each outer fold of each seed:"
        yield ""
        yield "| setting | chosen in | mean inner AUROC |"
        yield "|---|---|---|"
        for one in found.candidates:
            areas = [trial.auroc for fold in found.folds for trial in fold.choice.trials if trial.candidate == one.name]
            yield f"| {one.name} | {found.votes[one.name]} of {len(found.folds)} | {sum(areas) / len(areas):.3f} |"
        yield ""
        yield "The inner figures chose, so they are optimistic; only the table above estimates."
    yield ""


def _final(final: Choice | None) -> Iterator[str]:
    if final is not None and final.trials:
        best = next(trial for trial in final.trials if trial.candidate == final.candidate)
        yield (
            f"The model itself is trained with **{final.candidate}**, chosen the same way on {final.n_patients} "
            f"patients of the training split alone (mean inner AUROC {best.auroc:.3f})."
        )
        yield ""


def _limits() -> Sequence[str]:
    return (
        "## How to read this",
        "",
        "- The figures estimate the procedure, choice included, trained on part of the patients; not one model.",
        "- The answers are those of heads without dropout passes.",
        (
            "- A specimen's logit is the mean over its scans, a patient's the mean over the specimens; the specimens "
            "of a patient with both labels count singly, and stay together when patients are resampled."
        ),
        "- The intervals resample patients and hold heads and folds fixed; the spread over seeds is not in them.",
        "- Nothing here is about laboratories, scanners and populations that the cohort doesn't have.",
    )


def _table(found: CrossValidation) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in found.predictions:
        case = one.case
        names = ";".join(case.specimens)
        row = (one.seed, one.fold, one.candidate, case.patient, names, case.label, case.logit, one.temperature)
        writer.writerow((*row, one.logit))
    return text.getvalue()


def _n_patients(found: CrossValidation) -> int:
    return len({one.case.patient for one in found.predictions})


def _n_positive(found: CrossValidation) -> int:
    return len({one.case.patient for one in found.predictions if one.case.label == 1})
