"""Where a command finds the records, and in whose name it changes them."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.records import Records

DatabaseOption = Annotated[
    str | None, typer.Option("--database", help="The records: a path or URL; else the settings' or --out's.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The run's output folder.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings; default: pellucid.toml here, if any.")]


def open_existing(database: str | None, out: Path, config: Path | None) -> "Records":
    """The records that `pellucid run` with the same options would use; never made here.

    Raises:
        PellucidError: there are none, or they can't be opened.
    """
    from pellucid.core.settings import load_settings
    from pellucid.records import DATABASE_NAME, open_records

    return open_records(
        database or load_settings(config).database or out / DATABASE_NAME, create=False, actor=acting_user()
    )


def acting_user() -> str:
    """Who acts, for the audit trail."""
    return f"user:{getpass.getuser()}"
