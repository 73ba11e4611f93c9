"""`pellucid slide`: describe one scan, judge its quality, and draw what was found on it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pellucid.slides import QualityReport

app = typer.Typer(no_args_is_help=True, help="Describe a scan, judge its quality, draw its tissue and tiles.")

_Path = Annotated[Path, typer.Argument(help="A slide file.", show_default=False)]
_Mpp = Annotated[float | None, typer.Option("--mpp", help="The scan's true um/px, in place of the file's.")]
_Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
_Overlay = Annotated[Path | None, typer.Option("-o", "--out", help="Draw what was found and write it as PNG.")]
_DETAIL = "--mpp"


@app.command()
def info(path: _Path, mpp: _Mpp = None, as_json: _Json = False) -> None:
    """What the file says of itself, and whether its scale can be used."""
    from pellucid.core.errors import PellucidError
    from pellucid.core.serial import to_plain
    from pellucid.slides import identify, open_slide, require_scale

    with open_slide(path, mpp=mpp, mpp_detail=_DETAIL) as slide:
        described = slide.info
    identity = identify(path)
    problem = None
    try:
        require_scale(described)
    except PellucidError as error:
        problem = error
    if as_json:
        answer = {**to_plain(identity), **to_plain(described), "magnification": described.magnification}
        answer["scale_problem"] = None if problem is None else {"code": problem.code, "message": problem.message}
        typer.echo(json.dumps(answer, indent=2))
        return
    scale = described.scale
    _show(
        "Scan",
        {
            "digest (SHA-256)": identity.digest,
            "size": f"{identity.size_bytes / 1e6:.1f} MB in {identity.n_files} file(s)",
            "pixels": f"{described.width} x {described.height}",
            "levels": ", ".join(f"1/{downsample:g}" for downsample in described.level_downsamples),
            "format": f"{described.vendor} (read by {described.reader})",
            "scale": "not usable" if scale is None else f"{scale.mpp:.4g} um/px, from {scale.detail}",
            "magnification": _number(described.magnification, "x"),
            "objective": _number(described.objective_power, "x"),
            "scanner": described.scanner or "not stated",
            "synthetic": "yes, drawn by Pellucid" if described.synthetic else "no",
        },
    )
    if problem is not None:
        typer.secho(f"{problem.code}  {problem.message}", fg=typer.colors.RED)
        typer.echo(f"  -> {problem.remedy}")


@app.command()
def quality(path: _Path, mpp: _Mpp = None, out: _Overlay = None, as_json: _Json = False) -> None:
    """Tissue, focus, pen and stain, each with its limit; the picture shows all four."""
    from pellucid.core.serial import to_plain
    from pellucid.slides import assess_quality, draw_tissue, find_tissue, lay_grid, open_slide

    with open_slide(path, mpp=mpp, mpp_detail=_DETAIL) as slide:
        tissue = find_tissue(slide)
        grid = lay_grid(slide.info, tissue, tile_px=_TILE_PX, mpp=_TILE_MPP)
        report = assess_quality(slide, tissue, grid)
    if out is not None:
        _write_png(out, _side_by_side([draw_tissue(report.pictures["pen"], tissue), *report.pictures.values()]))
    if as_json:
        measures = [{**to_plain(measure), "passed": measure.passed} for measure in report.quality.measures]
        typer.echo(json.dumps({"measures": measures, "features": report.features}, indent=2))
    else:
        _show_quality(report)


@app.command()
def thumbnail(
    path: _Path,
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG file to write.")],
    mpp: _Mpp = None,
    max_px: Annotated[int, typer.Option("--max-px", min=16, max=8192, help="Length of the longer side.")] = 1024,
) -> None:
    """A picture of the whole scanned area; never of the label."""
    from pellucid.slides import open_slide, render_thumbnail

    with open_slide(path, mpp=mpp, mpp_detail=_DETAIL) as slide:
        _write_png(out, render_thumbnail(slide, max_px=max_px))


_TILE_PX = 224
_TILE_MPP = 0.5


@app.command()
def tiles(
    path: _Path,
    mpp: _Mpp = None,
    tile_px: Annotated[int, typer.Option("--tile-px", min=16, max=4096, help="A tile's edge in pixels.")] = _TILE_PX,
    tile_mpp: Annotated[float, typer.Option("--tile-mpp", min=0.05, max=5.0, help="um/px of a tile.")] = _TILE_MPP,
    out: _Overlay = None,
    as_json: _Json = False,
) -> None:
    """The grid of tiles that hold tissue."""
    from pellucid.slides import draw_tiles, draw_tissue, find_tissue, lay_grid, open_slide, render_thumbnail

    with open_slide(path, mpp=mpp, mpp_detail=_DETAIL) as slide:
        tissue = find_tissue(slide)
        grid = lay_grid(slide.info, tissue, tile_px=tile_px, mpp=tile_mpp)
        if out is not None:
            _write_png(out, draw_tiles(draw_tissue(render_thumbnail(slide), tissue), slide.info, grid))
    answer: dict[str, float] = {
        "n_tiles": len(grid),
        "columns": grid.columns,
        "rows": grid.rows,
        "tile_px": grid.tile_px,
        "mpp": grid.mpp,
        "level0_px": grid.level0_px,
        "tissue_mm2": tissue.area_mm2,
    }
    if as_json:
        typer.echo(json.dumps({**answer, "coords": grid.coords.tolist()}))
    else:
        _show(
            "Tiles",
            {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in answer.items()},
        )


def _show(title: str, rows: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "", title=title, title_justify="left", show_header=False)
    table.columns[1].overflow = "fold"
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _show_quality(report: "QualityReport") -> None:
    from rich.console import Console
    from rich.table import Table

    from pellucid.domain.quality import Sense

    table = Table("measure", "value", "limit", "passed", title="Quality", title_justify="left")
    for measure in report.quality.measures:
        bound = "at least" if measure.sense is Sense.AT_LEAST else "at most"
        table.add_row(
            measure.label,
            _number(measure.value, f" {measure.unit}".rstrip()),
            f"{bound} {measure.limit:g}",
            "yes" if measure.passed else f"[red]no: {measure.reason.value}[/red]",
        )
    Console().print(table)


def _number(value: float | None, unit: str) -> str:
    return "not known" if value is None else f"{value:.3g}{unit}"


def _side_by_side(pictures: list["NDArray[np.uint8]"]) -> "NDArray[np.uint8]":
    import numpy as np

    edges = [max(picture.shape[axis] for picture in pictures) for axis in (0, 1)]
    cells = []
    for picture in pictures:
        cell = np.full((*edges, 3), 255, np.uint8)
        cell[: picture.shape[0], : picture.shape[1]] = picture
        cells.append(cell)
    return np.hstack(cells)


def _write_png(path: Path, picture: "NDArray[np.uint8]") -> None:
    import io

    from PIL import Image

    from pellucid.core.files import write_bytes

    data: Any = io.BytesIO()
    Image.fromarray(picture).save(data, format="PNG")
    write_bytes(path, data.getvalue())
    typer.echo(f"{path} is written.", err=True)
