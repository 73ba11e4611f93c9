"""The `pellucid` command: groups of commands, one thin file each; errors become a sentence and an exit status."""

import sys
from typing import Annotated

import typer

from pellucid._version import __version__
from pellucid.cli import (
    audit,
    bag,
    bundle,
    certify,
    cohort,
    demo,
    doctor,
    encoder,
    error_list,
    evaluate,
    explain,
    identify,
    init,
    keys,
    monitor,
    plan,
    policy,
    queue,
    run,
    slide,
    status,
    trace,
    train,
    worker,
)
from pellucid.core.errors import PellucidError, SystemRefused

EXIT_ERROR = 1

app = typer.Typer(
    name="pellucid",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Honest biomarker answers from whole-slide pathology images. Research use only.",
)
app.command("demo")(demo.demo)
app.command("init")(init.init)
app.command("run")(run.run)
app.command("worker")(worker.worker)
app.command("status")(status.status)
app.command("trace")(trace.trace)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("identify")(identify.identify)
app.command("doctor")(doctor.doctor)
app.command("errors")(error_list.errors)
for name, group in (
    ("queue", queue),
    ("slide", slide),
    ("bag", bag),
    ("cohort", cohort),
    ("bundle", bundle),
    ("keys", keys),
    ("policy", policy),
    ("monitor", monitor),
    ("audit", audit),
    ("train", train),
    ("encoder", encoder),
):
    app.add_typer(group.app, name=name)
app.command("certify")(certify.certify)
app.command("evaluate")(evaluate.evaluate)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"pellucid {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; the process ends with 0, or 1 on an error, 2 on wrong usage, 130 when interrupted."""
    try:
        app()
    except PellucidError as error:
        _tell(error)
        sys.exit(EXIT_ERROR)
    except OSError as error:
        place = "The system refused" if error.filename is None else f"{error.filename} can't be used"
        _tell(SystemRefused(f"{place}: {error.strerror or error}."))
        sys.exit(EXIT_ERROR)
    except KeyboardInterrupt:
        sys.exit(run.EXIT_INTERRUPTED)


def _tell(error: PellucidError) -> None:
    typer.secho(f"{error.code}  {error.message}", fg=typer.colors.RED, err=True)
    if error.remedy:
        typer.echo(f"  -> {error.remedy}", err=True)
