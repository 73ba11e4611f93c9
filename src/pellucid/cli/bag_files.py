"""`pellucid bag import` and `pellucid bag export`: tile features of other tools as bags, and bags for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from pellucid.encoders.hdf5_conversion import Conversion

Source = Literal["trident", "clam", "stamp", "auto"]
Target = Literal["trident", "clam", "stamp"]


def import_bags(
    files: Annotated[list[Path], typer.Argument(help="HDF5 feature files, or folders with such files.")],
    out: Annotated[Path, typer.Option("--out", help="Where bags go: <stem>.bag.safetensors.")],
    tool: Annotated[Source, typer.Option("--from", help="Whose files; auto: told from each file.")] = "auto",
    mpp: Annotated[
        float | None, typer.Option(help="The slides' level-0 um/px; STAMP's files need it, as they are in um.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="The encoder's name, where files don't say it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Import tile features of TRIDENT, CLAM or STAMP as bags, matched to a cohort by their file's name."""
    from pellucid.encoders import hdf5_conversion
    from pellucid.encoders.hdf5 import StatedFacts
    from pellucid.encoders.hdf5_layouts import FeatureTool

    facts = StatedFacts(mpp=mpp, encoder=encoder)
    chosen = None if tool == "auto" else FeatureTool(tool)
    _tell(hdf5_conversion.import_bags(files, out, tool=chosen, facts=facts), out, as_json=as_json)


def export_bags(
    bags: Annotated[list[Path], typer.Argument(help="Bags, or folders with bags.")],
    tool: Annotated[Target, typer.Option("--to", help="For which tool.")],
    out: Annotated[Path, typer.Option("--out", help="Where feature files go: <stem>.h5.")],
    mpp: Annotated[float | None, typer.Option(help="Level-0 um/px of bags that don't say it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Export bags as HDF5 feature files that TRIDENT, CLAM or STAMP read."""
    from pellucid.encoders import hdf5_conversion
    from pellucid.encoders.hdf5_layouts import FeatureTool

    _tell(hdf5_conversion.export_bags(bags, out, tool=FeatureTool(tool), mpp=mpp), out, as_json=as_json)


def _tell(done: "Conversion", out: Path, *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
        if done.problems:
            raise typer.Exit(1)
        return
    typer.echo(f"{len(done.written)} written to {out}, {len(done.known)} there already, {len(done.problems)} failed.")
    done.require_complete()
