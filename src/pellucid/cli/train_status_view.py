"""A training's report as text for a terminal, and as plain JSON."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pellucid.cli.quantities import listed, size, span
from pellucid.core.serial import to_plain
from pellucid.training.journal.health import Life, TaskReport, TrainingReport
from pellucid.training.journal.status import TrainingStatus

_COLOURS = {
    Life.RUNNING: "green",
    Life.STALLED: "red",
    Life.SILENT: "red",
    Life.DEAD: "red",
    Life.INTERRUPTED: "yellow",
    Life.FINISHED: "dim",
    Life.FAILED: "red",
}


def report_plain(report: TrainingReport) -> dict[str, Any]:
    """The report as plain JSON."""
    plain: dict[str, Any] = to_plain(report)
    return plain


def report_view(report: TrainingReport) -> RenderableType:
    """The report for a terminal."""
    said = "" if report.age_s is None else f". It last said something {span(report.age_s)} ago."
    parts: list[RenderableType] = [
        Text.assemble(f"Training {report.run}: ", (report.life.value.upper(), _COLOURS[report.life]), said)
    ]
    if report.status is not None:
        parts += _progress(report.status, report.life)
    parts.append(Text(lost_sentence(report), style="bold"))
    if report.tasks:
        parts += [_table(report.tasks), Text(_how(report), style="dim")]
    parts += _counts(report)
    parts += [Text(f"ALARM  {alarm}", style="red") for alarm in report.alarms]
    return Group(*parts)


def progress_sentence(status: TrainingStatus) -> str:
    """How far the training is: the task in hand and its figures, or the stage that has no steps."""
    if status.stage:
        return f"{status.stage}: {status.stage_done} of {status.stage_total}"
    if not status.task:
        return "no task begun yet"
    of_epochs = f", epoch {min(status.epoch + 1, status.n_epochs)} of {status.n_epochs}" if status.n_epochs else ""
    figures = [f"{status.task}: step {status.step} of {status.n_steps}{of_epochs}"]
    if status.loss is not None:
        figures.append(f"loss {status.loss:.4g}")
    if status.score is not None:
        figures.append(f"score {status.score:.4g}")
    if status.steps_per_s and status.is_running:
        figures.append(_rate(status.steps_per_s))
    if status.waiting_share >= 0.005:
        figures.append(f"{status.waiting_share:.0%} of it waiting for tiles")
    return ", ".join(figures)


def lost_sentence(report: TrainingReport) -> str:
    """What a kill now would lose, or what the end did lose."""
    if report.life is Life.FINISHED:
        return "It is finished: there is nothing to lose."
    lost = f"{report.lost_steps} {'step' if report.lost_steps == 1 else 'steps'}, {span(report.lost_s)} of work"
    if report.life.may_be_alive:
        return f"A kill now would lose {lost}."
    return "Its end lost nothing." if not report.lost_steps else f"Its end lost {lost}."


def _rate(steps_per_s: float) -> str:
    return f"{steps_per_s:.1f} steps/s" if steps_per_s >= 1 else f"{1 / steps_per_s:.1f} s a step"


def _progress(status: TrainingStatus, life: Life) -> list[RenderableType]:
    line = progress_sentence(status)
    if status.eta_s is not None and life in {Life.RUNNING, Life.STALLED} and not status.stage:
        line += f"; about {span(status.eta_s)} of this task left"
    lines: list[RenderableType] = [Text(line)]
    if status.synthetic:
        lines.append(Text("Synthetic slides: its figures say nothing about patients.", style="yellow"))
    if status.saves:
        lines.append(Text(f"A checkpoint each {span(status.interval_s)}; the last one took {span(status.save_s)}."))
    return lines


def _table(tasks: tuple[TaskReport, ...]) -> Table:
    table = Table(title="Newest verified checkpoint of each task", title_justify="left")
    for name in ("task", "step", "written", "size", "of it"):
        table.add_column(name)
    for task in tasks:
        total = "?" if task.n_steps is None else task.n_steps
        if task.kept is None:
            table.add_row(task.task, "none", "", "", f"0 of {total} steps")
            continue
        age = "?" if task.age_s is None else f"{span(task.age_s)} ago"
        kept = "all" if task.is_done else f"{task.kept} of {total} steps"
        table.add_row(task.task, str(task.kept), age, size(task.n_bytes), kept)
    return table


def _how(report: TrainingReport) -> str:
    return "Verified by SHA-256 of every file." if report.by_hashes else "Only sizes were compared (--fast)."


def _counts(report: TrainingReport) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if report.slides_failed:
        lines.append(Text(f"Slides that failed and were replaced: {listed(report.slides_failed)}", style="yellow"))
    if report.failed_saves:
        lines.append(Text(f"Saves that failed: {report.failed_saves}", style="yellow"))
    lines += [Text(f"Passed over {name} of {task}: {why}", style="yellow") for task, name, why in report.rejected]
    return lines
