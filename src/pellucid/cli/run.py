"""`pellucid run`: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.core.settings import Settings
    from pellucid.domain.cohort import Cohort
    from pellucid.pipeline import RunOptions, RunSummary
    from pellucid.reports.publish import Published

EXIT_INTERRUPTED = 130


def run(
    inputs: Annotated[list[Path], typer.Argument(help="A cases table (CSV or Parquet), or slide files and folders.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where results go; the same folder resumes.")] = Path("out"),
    mpp: Annotated[float | None, typer.Option(help="um/px of bare files that don't say or say nonsense.")] = None,
    split: Annotated[str | None, typer.Option(help="Only the table's rows of this split.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed scans again.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 3 where a scan failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score slides, decide specimens, and write pages and tables. Ctrl-C finishes the scan in hand; twice stops now."""
    from pellucid.core.settings import load_settings
    from pellucid.pipeline import RunOptions, gather

    settings = load_settings(config)
    cohort = _chosen(gather(inputs, mpp=mpp), split)
    options = RunOptions(
        retry_failed=retry_failed,
        keep_bags=settings.keep_bags,
        database=settings.database,
        metrics_port=settings.metrics_port,
        log_level=settings.log_level,
        command=f"pellucid run [{len(inputs)} inputs]",
    )
    summary, published = carry_out(cohort, open_bundle(bundle, settings, trust or []), out, settings, options)
    show(summary, published, as_json=as_json)
    if not summary.completed:
        raise typer.Exit(EXIT_INTERRUPTED)
    if strict and summary.failed:
        raise typer.Exit(3)


def open_bundle(folder: Path, settings: "Settings", trust: list[Path]) -> "Bundle":
    """Load a bundle under the site's trusted keys and check that this machine reproduces its golden outputs."""
    from pellucid.bundle import load_bundle, load_trusted_keys

    bundle = load_bundle(folder, load_trusted_keys([*settings.trusted_keys, *trust]))
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    bundle.check_golden()
    return bundle


def carry_out(
    cohort: "Cohort", bundle: "Bundle", out: Path, settings: "Settings", options: "RunOptions"
) -> tuple["RunSummary", "Published"]:
    """Run and publish, with progress for a person."""
    from pellucid.cli.progress import RunProgress
    from pellucid.core.telemetry.metrics import write_textfile
    from pellucid.domain.policy import SitePolicy
    from pellucid.monitoring import publish_drift
    from pellucid.pipeline import METRICS, AuditBroken, run_cohort, run_metrics, stop_on_signals
    from pellucid.records import DATABASE_NAME, open_records
    from pellucid.reports.publish import publish

    metrics = run_metrics(bundle)
    with RunProgress() as progress:

        def announce() -> None:
            progress.say("Stopping after this scan. Press Ctrl-C again to stop now; nothing is lost either way.")

        with stop_on_signals(announce) as stop:
            summary = run_cohort(
                cohort,
                bundle,
                out,
                policy=SitePolicy(name=settings.site),
                events=progress,
                options=options,
                stop=stop,
                metrics=metrics,
            )
    with open_records(options.database or out / DATABASE_NAME) as records:
        published = publish(
            records, out, reference=bundle.reference, model=bundle.model_digest, model_card=bundle.model_card
        )
        audit = records.verify_audit()
    publish_drift(published.monitoring.drift, metrics)
    metrics.audit_verified(ok=audit.ok)
    write_textfile(metrics, out / METRICS)
    if not audit.ok:
        raise AuditBroken(f"{len(audit.problems)} problems in the audit trail; first: {audit.problems[0].detail}")
    return summary, published


def show(summary: "RunSummary", published: "Published", *, as_json: bool = False) -> None:
    """The run's end: a table of specimens, or JSON."""
    import json
    from dataclasses import asdict

    if as_json:
        typer.echo(json.dumps({**asdict(summary), "index": str(published.index)}, indent=2))
        return
    from pellucid.cli.tables import specimen_table

    specimen_table(published.specimens)
    state = "completed" if summary.completed else f"interrupted, {summary.left} scans wait: the same command goes on"
    if summary.completed and summary.left:
        state = f"completed its part; another run on this folder still works on {summary.left} scans"
    typer.echo(
        f"Run {summary.run_id} {state}. {summary.scored} scored, {summary.failed} failed, "
        f"{summary.known} finished before; {summary.seconds:.0f} s, "
        f"{summary.tiles / max(summary.seconds, 1e-3):.0f} tiles/s."
    )
    typer.echo(f"Pages: {published.index}   Research use only.")
    sys.stdout.flush()


def _chosen(cohort: "Cohort", split: str | None) -> "Cohort":
    from dataclasses import replace

    from pellucid.domain.cohort import Split
    from pellucid.pipeline.errors import NothingToRun

    if split is None:
        return cohort
    known = [one.value for one in Split]
    if split not in known:
        raise NothingToRun(f"{split!r} is no split.", remedy=f"Use one of {', '.join(known)}.")
    entries = cohort.in_split(Split(split))
    if not entries:
        raise NothingToRun(f"The table has no row of the split {split}.")
    return replace(cohort, entries=entries)
