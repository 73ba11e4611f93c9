"""`pellucid monitor`: what the model sees, how sure it is, what drifts, what is escalated."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

app = typer.Typer(no_args_is_help=True, help="Watch what the model sees, and what is made of it.")


@app.callback()
def _group() -> None:
    """Keeps `report` a command of its own: Typer would run the only command of a group without its name."""


@app.command()
def report(
    db: Annotated[str | None, typer.Option("--db", help="The records: a path or an SQLAlchemy URL.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Or the output folder of `pellucid run`.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Compare with this model bundle's reference; without it, no drift.")
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="Trust this public key, or folder of keys, besides the settings'."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file; pellucid.toml here if omitted.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only scans from then on, such as 2026-11-23.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Answer from the observations: what does the model see, how sure is it, does it drift, what is escalated."""
    from pellucid.core.serial import to_plain
    from pellucid.monitoring import monitor, policies_of, render
    from pellucid.records import DATABASE_NAME, open_records

    if (db is None) == (out is None):
        raise typer.BadParameter("give --db or --out, one of them")
    compared = _reference(_load(bundle, key, config)) if bundle is not None else {}
    with open_records(out / DATABASE_NAME if out is not None else str(db), create=False) as records:
        observations = records.observations(since)
        decisions = [recorded.decision for recorded in records.decisions(latest_only=False)]
        policies = policies_of(records.runs())
    answer = monitor(observations, decisions, policies=policies, **compared)
    if as_json:
        typer.echo(json.dumps(to_plain(answer), indent=2, allow_nan=False))
        return
    from rich.console import Console

    Console(highlight=False).print(render(answer))


def _load(folder: Path, keys: list[Path] | None, config: Path | None) -> "Bundle":
    from pellucid.bundle import load_bundle, load_trusted_keys
    from pellucid.core.settings import load_settings

    return load_bundle(folder, load_trusted_keys([*(keys or ()), *load_settings(config).trusted_keys]))


def _reference(bundle: "Bundle") -> dict[str, Any]:
    return {
        "reference": bundle.reference,
        "model": bundle.model_digest,
        "bundle": bundle.name,
        "synthetic": bundle.synthetic,
    }
