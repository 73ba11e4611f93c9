"""`pellucid train`: from a cohort table to a signed bundle, in a run folder that a killed training goes on in."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from pellucid.cli import train_status

if TYPE_CHECKING:
    from pellucid.training import TrainingConfig

EXIT_INTERRUPTED = 130
EXIT_AGAIN = 75
"""Ended by a scheduler's warning (SIGUSR2), everything saved: to be started again (EX_TEMPFAIL of sysexits.h)."""


class _StartsByDefault(TyperGroup):
    """A group whose first command is meant where none is named: `train cohort.csv` is `train start cohort.csv`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_StartsByDefault,
    no_args_is_help=True,
    help="Train on a cohort: `pellucid train COHORT.csv --config run.toml --key KEY --out RUN`.",
)


@app.command("start")
def start(
    table: Annotated[Path, typer.Argument(help="A cohort table with splits and labels.")],
    key: Annotated[Path, typer.Option("--key", help="The private key that signs (`pellucid keys generate`).")],
    out: Annotated[Path, typer.Option("--out", help="The run folder; the same one again goes on where it stopped.")],
    config: Annotated[Path | None, typer.Option("--config", help="Settings (`pellucid train template`).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, augmentation; wins over --config.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on from checkpoints of another config, code or cohort; recorded.")
    ] = False,
) -> None:
    """Train, calibrate, and sign a bundle (the default command).

    Started by torchrun or by Slurm's srun, mode end_to_end is shared between all ranks. Ends with 75 where a
    scheduler's SIGUSR2 stopped it, and with 130 where a person did; started again, it goes on.
    """
    from pellucid.cli.threads import spin_less
    from pellucid.cohort import read_cohort
    from pellucid.training.errors import TrainingInterrupted

    spin_less()
    settings = _settings(config, seed)
    cohort = read_cohort(table)

    from pellucid.bundle import SigningKey
    from pellucid.cli.train_progress import TrainingProgress
    from pellucid.training import train_bundle
    from pellucid.training.ranks import joined_ranks
    from pellucid.training.stopping import StopFlag, stop_on_signals

    stop = StopFlag()
    signing = SigningKey.load(key)
    try:
        # a signal that comes while the ranks look for each other must be heard as well
        with stop_on_signals(stop), joined_ranks() as ranks, TrainingProgress(shows=ranks.is_first) as progress:
            bundle = train_bundle(
                cohort,
                out,
                key=signing,
                config=settings,
                telling=progress,
                ranks=ranks,
                stop=stop,
                force=force,
                command=f"pellucid train {table.name}",
            )
    except TrainingInterrupted as interrupted:
        typer.echo(f"{interrupted.message} {interrupted.remedy}", err=True)
        # the signal may have been another rank's: all end with the same code, of which srun tells the highest
        again = interrupted.context.get("signal") == signal.SIGUSR2
        raise typer.Exit(EXIT_AGAIN if again else EXIT_INTERRUPTED) from None
    if ranks.is_first:
        typer.echo(f"Bundle: {bundle}")


app.command("status")(train_status.status)


@app.command("template")
def template() -> None:
    """Print a settings file with every setting and its default."""
    from pellucid.training.config_file import template as text

    typer.echo(text(), nl=False)


def _settings(config: Path | None, seed: int | None) -> "TrainingConfig":
    from dataclasses import replace

    from pellucid.training import TrainingConfig
    from pellucid.training.config_file import load_config

    settings = TrainingConfig() if config is None else load_config(config)
    return settings if seed is None else replace(settings, seed=seed)
