"""`pellucid bag`: embeddings of scans, for training and for science."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Embeddings of scans.")


@app.command("make")
def make(
    inputs: Annotated[list[Path], typer.Argument(help="A cases table (CSV or Parquet), or slide files and folders.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle whose encoder embeds.")],
    out: Annotated[Path, typer.Option("--out", help="Where bags go; the same folder resumes.")] = Path("bags-out"),
    mpp: Annotated[float | None, typer.Option(help="um/px of bare files that don't say or say nonsense.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed scans again.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show the engine at work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Embed every scan: the engine, ending before the posterior. One `*.bag.safetensors` a scan, in `OUT/bags`."""
    import json
    from dataclasses import asdict

    from pellucid.cli.run import end, open_bundle, stream
    from pellucid.core.settings import load_settings
    from pellucid.domain.policy import SitePolicy
    from pellucid.pipeline import RunOptions, gather, run_metrics

    settings = load_settings(config)
    options = RunOptions(
        purpose="bags",
        embeddings_only=True,
        retry_failed=retry_failed,
        log_level=settings.log_level,
        command=f"pellucid bag make [{len(inputs)} inputs]",
        readers=readers,
        device_threads=settings.threads,
    )
    loaded = open_bundle(bundle, settings, trust or [])
    cohort = gather(inputs, mpp=mpp)
    summary = stream(
        cohort, loaded, out, SitePolicy(name=settings.site), options, metrics=run_metrics(loaded), live=live
    )
    if as_json:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        typer.echo(f"{summary.scored} bags in {out / 'bags'}, {summary.failed} scans failed, {summary.known} known.")
    end(summary, strict=False, until_stopped=False)
