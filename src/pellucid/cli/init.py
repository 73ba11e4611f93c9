"""`pellucid init DIR`: a commented cases table and settings for one's own slides."""

from pathlib import Path
from typing import Annotated

import typer

from pellucid.core.errors import SettingsInvalid


def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty place for your table and settings.")],
) -> None:
    """Write a commented cases table and settings file to start from."""
    from pellucid.cohort import write_template
    from pellucid.core.settings import write_template as write_settings

    table, settings = folder / "cases.csv", folder / "pellucid.toml"
    for path in (table, settings):
        if path.exists():
            raise SettingsInvalid(f"{path} exists; nothing was written.", remedy="Choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_template(table)
    write_settings(settings)
    typer.echo(f"Wrote {table} and {settings}. Fill in the table, then:")
    typer.echo(f"  pellucid cohort check {table}")
    typer.echo(f"  pellucid run {table} --config {settings} --bundle BUNDLE --out {folder / 'out'}")
