"""`pellucid train`: from a cohort to a signed bundle."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.threads import spin_less


def train(
    table: Annotated[Path, typer.Argument(help="A cohort table with splits and labels.")],
    key: Annotated[Path, typer.Option("--key", help="The private key that signs (`pellucid keys generate`).")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the bundle and its history.")],
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
) -> None:
    """Train the small encoder and head on a cohort, calibrate, and sign a bundle."""
    spin_less()
    from pellucid.bundle import SigningKey
    from pellucid.cohort import read_cohort
    from pellucid.training import TrainingConfig, train_bundle

    def progress(stage: str, done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            typer.echo(f"{stage} {done}/{total}", err=True)

    config = TrainingConfig(seed=seed)
    bundle = train_bundle(read_cohort(table), out, key=SigningKey.load(key), config=config, progress=progress)
    typer.echo(f"Bundle: {bundle}")
