"""`pellucid doctor`: what is missing on this machine."""

from typing import Annotated

import typer


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine has and lacks; exits with 1 where something required is missing."""
    import json

    from pellucid.cli.checks import check_machine

    checks = check_machine()
    if as_json:
        typer.echo(json.dumps([check.as_plain() for check in checks], indent=2))
    else:
        for check in checks:
            mark, colour = ("ok", "green") if check.ok else ("MISSING" if check.required else "absent", "red")
            typer.secho(f"{mark:8}", fg=colour if check.ok or check.required else "yellow", nl=False)
            typer.echo(f"{check.name:24}{check.found}")
            if not check.ok:
                typer.echo(f"{'':32}-> {check.remedy}")
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(1)
