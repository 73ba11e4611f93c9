"""`pellucid status`: what is under way, what it has durably done, and what a kill would lose now."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.places import ConfigOption, DatabaseOption, OutOption, open_existing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pellucid.cli.jobs import Status


def status(
    database: DatabaseOption = None,
    out: OutOption = Path("out"),
    config: ConfigOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Tell each long job's last durable step and age, and what a kill and a power cut would cost now.

    Works while the engine is dead or its database out of reach: then it tells what the output folder holds, and ends
    with 1 where the records can't be read.
    """
    from rich.console import Console

    from pellucid.cli.status_view import status_plain, status_view
    from pellucid.cli.watching import keep_saying, keep_showing

    def look() -> "Status":
        return _look(database, out, config)

    def draw() -> "RenderableType":
        return status_view(look())

    if watch and as_json:
        keep_saying(lambda: json.dumps(status_plain(look())))
    elif watch:
        keep_showing(draw)
    else:
        found = look()
        if as_json:
            plain: dict[str, Any] = status_plain(found)
            typer.echo(json.dumps(plain, indent=2))
        else:
            Console(highlight=False).print(status_view(found))
        if found.problem is not None:
            raise typer.Exit(1)


def _look(database: str | None, out: Path, config: Path | None) -> "Status":
    from pellucid.cli.jobs import look_at_all, look_without_records
    from pellucid.core.errors import PellucidError

    try:
        with open_existing(database, out, config) as records:
            return look_at_all(records, out)
    except PellucidError as error:
        if not error.code.startswith("PEL-RECORD"):
            raise
        return look_without_records(out, f"{error.code}  {error.message} {error.remedy}")
