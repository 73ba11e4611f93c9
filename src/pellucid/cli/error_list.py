"""`pellucid errors`: every error code, its meaning and remedy."""

import json
from typing import Annotated

import typer

_ROOMS = (
    "core.settings",
    "slides.errors",
    "slides.fingerprint",
    "planning.errors",
    "statistics.errors",
    "records.errors",
    "cohort.errors",
    "encoders.errors",
    "encoders.hdf5_errors",
    "aggregators.errors",
    "uncertainty.errors",
    "bundle.errors",
    "bundle.policy_errors",
    "engine.errors",
    "engine.ends",
    "engine.checkpoint",
    "pipeline.errors",
    "training.errors",
    "training.checkpoints.errors",
    "training.joint.errors",
    "training.stream.errors",
    "training.validation.errors",
    "training.journal.errors",
    "training.bag_store",
    "evaluation.errors",
    "reports.errors",
    "demo",
    "cli.errors",
)


def errors(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every error code with its meaning and remedy (the table of docs/errors.md)."""
    rows = all_errors()
    if as_json:
        typer.echo(
            json.dumps([{"code": code, "meaning": text, "remedy": remedy} for code, text, remedy in rows], indent=2)
        )
        return
    typer.echo("# Error codes\n\nA code never changes its meaning. `pellucid errors` prints this page.\n")
    typer.echo("| code | meaning | remedy |\n|---|---|---|")
    for code, text, remedy in rows:
        typer.echo(f"| {code} | {text} | {remedy} |")


def all_errors() -> list[tuple[str, str, str]]:
    """Code, first sentence of the description, and remedy of every error, by code."""
    from importlib import import_module

    from pellucid.core.errors import known_errors

    for room in _ROOMS:
        import_module(f"pellucid.{room}")
    rows = []
    for code, kind in known_errors().items():
        if not kind.__module__.startswith("pellucid."):
            continue
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append((code, meaning, str(kind.remedy)))
    return rows
