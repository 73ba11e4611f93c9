"""The evaluation report as a page that stands alone, and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pellucid.core.files import write_json, write_text
from pellucid.core.serial import to_plain
from pellucid.domain.certificate import Side
from pellucid.evaluation.histograms import Histograms
from pellucid.evaluation.measures import Share
from pellucid.evaluation.report import EvaluationReport
from pellucid.evaluation.selection import COVERAGE
from pellucid.evaluation.subgroups import LEAST
from pellucid.reports import evaluation_charts, evaluation_wording, formats
from pellucid.reports.evaluation_pictures import embed_pictures
from pellucid.reports.pages import read_resource, render_template

EVALUATION_PAGE = "evaluation.html"
EVALUATION_FILE = "evaluation.json"
_CURVES = ("curve-1", "curve-2", "curve-3", "curve-4")


def write_evaluation(folder: Path, report: EvaluationReport) -> Path:
    """Write `evaluation.html` and `evaluation.json` into `folder` and return the page's path.

    Args:
        folder: that of the run, where the scans' pictures lie.
        report: what to show.

    Raises:
        PicturePathInvalid: a picture's recorded path leads out of `folder`.
        StorageFull: no space is left.
    """
    write_json(folder / EVALUATION_FILE, to_plain(report))
    page = folder / EVALUATION_PAGE
    write_text(page, evaluation_page(folder, report))
    return page


def evaluation_page(folder: Path, report: EvaluationReport) -> str:
    """The page's text; see `write_evaluation`."""
    return render_template(
        "evaluation.html",
        root="",
        synthetic=report.model.synthetic,
        imprint=f"Pellucid {report.software_version} · bundle {report.model.bundle} · policy {report.policy.name} · "
        f"made {formats.moment(report.made_at)}",
        css=Markup(f"{read_resource('style.css')}\n{read_resource('evaluation.css')}"),  # noqa: S704 - the package's own files
        report=report,
        draw=evaluation_charts,
        say=evaluation_wording,
        pictures=embed_pictures(folder, report.worst.cases),
        curves=_curves(report),
        thresholds=_thresholds(report.histograms),
        answers=_answers(report),
        answer_names=[row.verdict.value for row in report.answers.rows],
        share_rows=_share_rows(report),
        coverage=COVERAGE,
        least=LEAST,
    )


def _curves(report: EvaluationReport) -> list[evaluation_charts.Curve]:
    return [
        evaluation_charts.Curve(points=one.curve, name=evaluation_wording.confidence_label(one.confidence), style=style)
        for one, style in zip(report.selection.figures, _CURVES, strict=False)
    ]


def _thresholds(histograms: Histograms) -> list[tuple[str, float]]:
    """Each threshold once, with its name in a chart."""
    found = {(one.side, one.probability) for one in histograms.thresholds}
    signs = {Side.NEGATIVE: "≤", Side.POSITIVE: "≥"}
    return [
        (f"{side.value} {signs[side]} {formats.probability(at)}", at)
        for side, at in sorted(found, key=lambda pair: pair[1])
    ]


def _answers(report: EvaluationReport) -> list[tuple[str, Sequence[int]]]:
    rows = report.answers.rows
    return [("Mutated", [row.mutated for row in rows]), ("Wild type", [row.wild_type for row in rows])]


def _share_rows(report: EvaluationReport) -> list[dict[str, Any]]:
    """The shares of the table of answers: name, meaning and value."""
    answers = report.answers

    def row(name: str, meaning: str, share: Share) -> dict[str, Any]:
        return {"name": name, "meaning": meaning, "share": share}

    return [
        row("Coverage", "of all, those that got an answer", answers.coverage),
        row("NPV", "of those answered negative, the wild type", answers.npv),
        row("PPV", "of those answered positive, the mutated", answers.ppv),
        row("Sensitivity", "of the mutated that got an answer, those answered positive", answers.sensitivity),
        row("Specificity", "of the wild type that got an answer, those answered negative", answers.specificity),
        row("Found", "of all the mutated, those answered positive", answers.found),
        row("Cleared", "of all the wild type, those answered negative", answers.cleared),
        row("Missed", "of all the mutated, those answered negative", answers.missed),
    ]
