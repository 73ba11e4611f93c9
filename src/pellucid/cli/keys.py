"""`pellucid keys`: the keys that sign model bundles."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Keys that sign model bundles, and which of them are trusted.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def generate(
    path: Annotated[Path, typer.Argument(help="Where the private key goes; the public one goes to PATH.pub.")],
    as_json: _Json = False,
) -> None:
    """Make a new key pair; an existing file is never overwritten."""
    from pellucid.bundle import SigningKey

    key = SigningKey.generate()
    public = key.save(path)
    if as_json:
        typer.echo(json.dumps({"key_id": key.key_id, "private": str(path), "public": str(public)}, indent=2))
        return
    typer.echo(f"Key {key.key_id}")
    typer.echo(f"  private  {path}  keep it to yourself: whoever has it can sign as you")
    typer.echo(f"  public   {public}  give it to the sites that should trust you")


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="A public or private key file, or a folder of *.pub files.")],
    as_json: _Json = False,
) -> None:
    """Say which key a file holds, to compare its id with what its owner says."""
    from pellucid.bundle import read_keys

    keys = read_keys(path)
    if as_json:
        typer.echo(json.dumps([{"key_id": key.key_id, "name": key.name} for key in keys], indent=2))
        return
    for key in keys:
        typer.echo(f"{key.key_id}  {key.name}")
