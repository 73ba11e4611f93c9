"""`pellucid train status`: how a training goes, what of it is kept, and what a kill would lose now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pellucid.training.journal.health import TrainingReport


def status(
    run: Annotated[Path, typer.Argument(help="The run folder of a training.")],
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds until Ctrl-C.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Compare the checkpoints' sizes only, not every byte; --watch does so too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Tell each task's newest verified checkpoint, its age, and what a kill would lose now.

    Works while the training runs and after it died. Ends with 1 where something is wrong: it is dead or stalled, a
    checkpoint is overdue, damaged or missing.
    """
    from rich.console import Console

    from pellucid.cli.train_status_view import report_plain, report_view
    from pellucid.cli.watching import keep_saying, keep_showing
    from pellucid.training.journal.health import look_at_training

    def look() -> "TrainingReport":
        return look_at_training(run, hashes=not (fast or watch))

    def draw() -> "RenderableType":
        return report_view(look())

    if watch and as_json:
        keep_saying(lambda: json.dumps(report_plain(look())))
    elif watch:
        keep_showing(draw)
    else:
        report = look()
        if as_json:
            typer.echo(json.dumps(report_plain(report), indent=2))
        else:
            Console(highlight=False).print(report_view(report))
        if report.alarms:
            raise typer.Exit(1)
