"""`pellucid cohort`: check a table, split it by patient, make a synthetic cohort."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from pellucid.domain.cohort import Cohort, Split

app = typer.Typer(no_args_is_help=True, help="Cohort tables: check them, split them, make a synthetic one.")

_Table = Annotated[Path, typer.Argument(help="A cohort table, CSV or Parquet.")]
_Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")]


@app.command()
def check(
    table: _Table,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report every problem of a table with row and column, then what it holds; fails where a scan's file is absent."""
    from pellucid.cohort import read_cohort

    cohort = read_cohort(table)
    missing = [entry for entry in cohort.entries if not entry.path.is_file()]
    facts = _facts(cohort) | {"missing": [{"row": entry.row, "path": str(entry.path)} for entry in missing]}
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print_facts(facts)
        for entry in missing:
            typer.secho(f"row {entry.row}, column path: there is no file {entry.path}", fg="red", err=True)
    if missing:
        raise typer.Exit(1)


@app.command()
def split(
    table: _Table,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the table, .csv or .parquet.")],
    seed: _Seed = 0,
    fractions: Annotated[
        str, typer.Option("--fractions", help="Shares of the patients, adding up to 1.")
    ] = "training=0.6,tuning=0.2,test=0.2",
) -> None:
    """Give every patient to one split, labels in like proportion, and write the table anew."""
    from pellucid.cohort import read_cohort, split_by_patient, write_cohort

    cohort = split_by_patient(read_cohort(table), _shares(fractions), seed)
    write_cohort(cohort, out)
    _print_facts(_facts(read_cohort(out)))


@app.command()
def synthesise(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one that holds a synthetic cohort to replace.")],
    seed: _Seed = 0,
    scale: Annotated[float, typer.Option("--scale", help="Times the default number of specimens.", min=0.05)] = 1.0,
    slide_px: Annotated[int, typer.Option("--slide-px", help="Side of a scan at 0.5 um/px, pixels.")] = 3600,
    workers: Annotated[int, typer.Option("--workers", help="Processes that draw.", min=1)] = 2,
) -> None:
    """Draw a synthetic cohort: slides that look like H&E, a planted signal, and the truth about both."""
    from pellucid.cohort import SynthesisConfig, read_cohort
    from pellucid.cohort import synthesise as draw

    config = SynthesisConfig(seed=seed, slide_px=slide_px).scaled(scale)
    with Progress(console=Console(stderr=True)) as shown:
        task = shown.add_task("Drawing", total=None)
        table = draw(
            folder,
            config,
            workers=workers,
            progress=lambda done, total: shown.update(task, completed=done, total=total),
        )
    _print_facts(_facts(read_cohort(table)))
    typer.echo(f"Wrote {table}")


def _shares(text: str) -> "dict[Split, float]":
    from pellucid.cohort import SplitInvalid
    from pellucid.domain.cohort import Split

    try:
        pairs = [item.split("=") for item in text.split(",")]
        return {Split(name.strip()): float(share) for name, share in pairs}
    except ValueError as error:
        raise SplitInvalid(f"{text!r} are no shares: {error}.") from error


def _facts(cohort: "Cohort") -> dict[str, object]:
    splits = Counter(entry.split.value if entry.split else "no split" for entry in cohort.entries)
    words = {1: "mutated", 0: "wild type", None: "unknown"}
    labels = Counter(words[scans[0].label] for scans in cohort.specimens().values())
    return {
        "name": cohort.name,
        "synthetic": cohort.synthetic,
        "digest": cohort.digest,
        "patients": len({entry.patient for entry in cohort.entries}),
        "cases": len({entry.case for entry in cohort.entries}),
        "specimens": len(cohort.specimens()),
        "scans": len(cohort.entries),
        "scans_by_split": dict(splits),
        "specimens_by_label": dict(labels),
    }


def _print_facts(facts: dict[str, object]) -> None:
    if facts["synthetic"]:
        typer.secho("SYNTHETIC: every slide and label was drawn.", fg="yellow")
    for name, value in facts.items():
        if name == "missing":
            continue
        shown = ", ".join(f"{key}: {count}" for key, count in value.items()) if isinstance(value, dict) else value
        typer.echo(f"{name.replace('_', ' '):20}{shown}")
