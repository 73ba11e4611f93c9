"""`pellucid bag`: embeddings of scans, for training and for science."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pellucid.cli import bag_files

if TYPE_CHECKING:
    from pellucid.core.settings import Settings
    from pellucid.pipeline.models import Model

app = typer.Typer(no_args_is_help=True, help="Embeddings of scans.")


class Device(StrEnum):
    """Where an encoder runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@app.command("make")
def make(
    inputs: Annotated[list[Path], typer.Argument(help="A cases table (CSV or Parquet), or slide files and folders.")],
    bundle: Annotated[Path | None, typer.Option("--bundle", help="The model bundle whose encoder embeds.")] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="A published encoder in a bundle's place: `pellucid encoder list`.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its file of weights, or the folder that it lies in; none where packaged.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where bags go; the same folder resumes.")] = Path("bags-out"),
    mpp: Annotated[float | None, typer.Option(help="um/px of bare files that don't say or say nonsense.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    device: Annotated[Device, typer.Option(help="Where the encoder runs.")] = Device.AUTO,
    precision: Annotated[
        str | None, typer.Option(help="Of --encoder: float32, or bfloat16 for an accelerator.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Of --encoder: tiles in its one batch shape.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed scans again.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show the engine at work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Embed every scan: the engine, ending before the posterior. One `*.bag.safetensors` a scan, in `OUT/bags`."""
    import json
    from dataclasses import asdict

    from pellucid.cli.run import end, stream
    from pellucid.core.settings import load_settings
    from pellucid.domain.policy import SitePolicy
    from pellucid.pipeline import RunOptions, gather, run_metrics

    if (bundle is None) == (encoder is None):
        raise typer.BadParameter("name a --bundle or an --encoder")
    if encoder is None and (weights is not None or precision is not None or batch is not None):
        raise typer.BadParameter("--weights, --precision and --batch belong to an --encoder")
    settings = load_settings(config)
    options = RunOptions(
        purpose="bags",
        embeddings_only=True,
        retry_failed=retry_failed,
        log_level=settings.log_level,
        command=f"pellucid bag make [{len(inputs)} inputs]",
        readers=readers,
        device=device.value,
        device_threads=settings.threads,
    )
    if encoder is None:
        model = _bundle(bundle, settings, trust or [])
    else:
        model = _encoder(encoder, weights, precision=precision or "float32", batch=batch)
    cohort = gather(inputs, mpp=mpp)
    summary = stream(cohort, model, out, SitePolicy(name=settings.site), options, metrics=run_metrics(model), live=live)
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        typer.echo(f"{summary.scored} bags in {out / 'bags'}, {summary.failed} scans failed, {summary.known} known.")
    end(summary, strict=False, until_stopped=False)


def _bundle(folder: Path | None, settings: "Settings", trust: list[Path]) -> "Model":
    from pellucid.cli.run import open_bundle

    assert folder is not None
    return open_bundle(folder, settings, trust)


def _encoder(name: str, weights: Path | None, *, precision: str, batch: int | None) -> "Model":
    """The only part that needs torch here: an encoder is known by the digest of its tensors, whatever file has them."""
    from dataclasses import replace

    from pellucid.encoders import encoder_entry, read_published
    from pellucid.encoders.weight_files import find_weights
    from pellucid.pipeline.models import EncoderAlone

    entry = encoder_entry(name)
    file = find_weights(entry, weights)
    spec, state = read_published(entry, file)
    spec = replace(spec, precision=precision, batch_size=batch or spec.batch_size)
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    return EncoderAlone(spec=spec, weights=file, weights_bytes=size)


app.command("import")(bag_files.import_bags)
app.command("export")(bag_files.export_bags)
