"""`pellucid run`: the main job."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.cli.live import LiveView
    from pellucid.cli.progress import RunProgress
    from pellucid.core.settings import Settings
    from pellucid.core.telemetry.metrics import ScanMetrics
    from pellucid.domain.cohort import Cohort
    from pellucid.domain.policy import SitePolicy
    from pellucid.pipeline import RunOptions, RunSummary, StopRequest
    from pellucid.pipeline.ledger import Arrivals
    from pellucid.pipeline.models import Model
    from pellucid.reports.publish import Published

EXIT_INTERRUPTED = 130
STAT_PRIORITY = 1000


def run(
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle's folder.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="A cases table (CSV or Parquet), or slide files and folders.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where results go; the same folder resumes.")] = Path("out"),
    mpp: Annotated[float | None, typer.Option(help="um/px of bare files that don't say or say nonsense.")] = None,
    split: Annotated[str | None, typer.Option(help="Only the table's rows of this split.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="The site's policy; default: that of the settings, if any.")
    ] = None,
    policy_key: Annotated[
        list[Path] | None, typer.Option(help="Public key file or folder of the site's own, beside the settings'.")
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(help="Take scans from this folder as they arrive, until stopped.")
    ] = None,
    settle: Annotated[float, typer.Option(help="Seconds in which an arriving file must not change.")] = 30.0,
    wait_hours: Annotated[
        float | None, typer.Option(help="Decide without scans that have not arrived after so many hours.")
    ] = None,
    stat: Annotated[bool, typer.Option("--stat", help="These scans go before all others.")] = False,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    grace: Annotated[float, typer.Option(help="Seconds that scans in hand may go on after the first Ctrl-C.")] = 60.0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a full disk or a lost database.")] = 3600.0,
    live: Annotated[bool, typer.Option("--live", help="Show the engine at work.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed scans again.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 3 where a scan failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score slides, decide specimens, write pages and tables.

    Ctrl-C finishes the scans in hand and gives the rest back; twice stops now. Nothing is lost either way: the same
    command goes on.
    """
    from pellucid.core.settings import load_settings
    from pellucid.pipeline import RunOptions, gather

    settings = load_settings(config)
    if not inputs and watch is None:
        raise typer.BadParameter("name a cases table or slide files, or a folder to --watch")
    cohort = empty_cohort() if watch is not None else _chosen(gather(inputs or [], mpp=mpp), split)
    options = RunOptions(
        retry_failed=retry_failed,
        keep_bags=settings.keep_bags,
        database=settings.database,
        metrics_port=settings.metrics_port,
        log_level=settings.log_level,
        command=f"pellucid run [{len(inputs or [])} inputs]",
        priority=STAT_PRIORITY if stat else 0,
        wait_s=0.0 if watch is None else None if wait_hours is None else wait_hours * 3600.0,
        readers=readers,
        device_threads=settings.threads,
        grace_s=grace,
        patience_s=patience,
    )
    arrivals = None if watch is None else _arrivals(watch, inputs or [], settle_s=settle, mpp=mpp)
    opened = open_bundle(bundle, settings, trust or [])
    summary, published = carry_out(
        cohort,
        opened,
        out,
        site_policy(opened, settings, policy, policy_key or []),
        options,
        arrivals=arrivals,
        live=live,
    )
    show(summary, published, as_json=as_json)
    end(summary, strict=strict, until_stopped=watch is not None)


def end(summary: "RunSummary", *, strict: bool, until_stopped: bool) -> None:
    """End the command with what the run's end means to a script."""
    if not summary.completed and not (until_stopped and not summary.left):
        raise typer.Exit(EXIT_INTERRUPTED)
    if strict and summary.failed:
        raise typer.Exit(3)


def open_bundle(folder: Path, settings: "Settings", trust: list[Path]) -> "Bundle":
    """Load a bundle under the site's trusted keys; the engine checks that its golden outputs hold on this machine."""
    from pellucid.bundle import load_bundle, load_trusted_keys

    return load_bundle(folder, load_trusted_keys([*settings.trusted_keys, *trust]))


def site_policy(bundle: "Bundle", settings: "Settings", file: Path | None, keys: list[Path]) -> "SitePolicy":
    """The policy in force, signed by a key of the site and made for this bundle; without one nothing is decided alone.

    Args:
        bundle: what the policy must be about.
        settings: where the policy and the site's keys are named.
        file: a policy in the place of the settings'.
        keys: more keys of the site.
    """
    from pellucid.domain.policy import SitePolicy

    chosen = file or settings.policy
    if chosen is None:
        return SitePolicy(name=settings.site)
    from pellucid.bundle import load_trusted_keys
    from pellucid.bundle.policies import check_policy, load_policy
    from pellucid.pipeline.decisions import gates_of

    policy = load_policy(chosen, load_trusted_keys([*settings.policy_keys, *keys])).policy
    for warning in check_policy(
        policy, model=bundle.model_digest, gates=gates_of(bundle).digest, synthetic=bundle.synthetic
    ):
        typer.secho(warning, fg=typer.colors.YELLOW, err=True)
    return policy


def carry_out(
    cohort: "Cohort",
    bundle: "Bundle",
    out: Path,
    policy: "SitePolicy",
    options: "RunOptions",
    *,
    arrivals: "Arrivals | None" = None,
    live: bool = False,
) -> tuple["RunSummary", "Published"]:
    """Run and publish, with progress for a person."""
    from pellucid.core.telemetry.metrics import write_textfile
    from pellucid.monitoring import publish_autonomy, publish_drift
    from pellucid.pipeline import METRICS, AuditBroken, run_metrics
    from pellucid.records import DATABASE_NAME, open_records
    from pellucid.reports.publish import publish

    metrics = run_metrics(bundle)
    summary = stream(cohort, bundle, out, policy, options, metrics=metrics, arrivals=arrivals, live=live)
    with open_records(options.database or out / DATABASE_NAME) as records:
        published = publish(
            records, out, reference=bundle.reference, model=bundle.model_digest, model_card=bundle.model_card
        )
        audit = records.verify_audit()
    publish_drift(published.monitoring.drift, metrics)
    publish_autonomy(published.monitoring.autonomy, metrics)
    metrics.audit_verified(ok=audit.ok)
    write_textfile(metrics, out / METRICS)
    if not audit.ok:
        raise AuditBroken(f"{len(audit.problems)} problems in the audit trail; first: {audit.problems[0].detail}")
    return summary, published


def stream(
    cohort: "Cohort",
    bundle: "Model",
    out: Path,
    policy: "SitePolicy",
    options: "RunOptions",
    *,
    metrics: "ScanMetrics",
    arrivals: "Arrivals | None" = None,
    live: bool = False,
) -> "RunSummary":
    """Run the engine, with progress for a person, until it is done or asked to stop."""
    from pellucid.cli.live import LiveView
    from pellucid.cli.progress import RunProgress
    from pellucid.pipeline import run_cohort

    with LiveView() if live else RunProgress() as progress, stoppable(progress) as stop:
        return run_cohort(
            cohort,
            bundle,
            out,
            policy=policy,
            events=progress,
            options=options,
            stop=stop,
            metrics=metrics,
            arrivals=arrivals,
        )


@contextmanager
def stoppable(progress: "LiveView | RunProgress") -> "Iterator[StopRequest]":
    """Within the block, the first Ctrl-C or SIGTERM finishes the scans in hand, the second stops at once."""
    from pellucid.pipeline import stop_on_signals

    def announce() -> None:
        progress.say("Finishing the scans in hand. Press Ctrl-C again to stop now; nothing is lost either way.")

    with stop_on_signals(announce) as stop:
        yield stop


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
        f"{summary.tiles / max(summary.seconds, 1e-3):.0f} tiles/s, device busy {summary.device_busy_share:.0%}"
        f"{f', {summary.restarts} processes replaced' if summary.restarts else ''}."
    )
    typer.echo(f"Pages: {published.index}   Research use only.")
    sys.stdout.flush()


def _arrivals(folder: Path, inputs: list[Path], *, settle_s: float, mpp: float | None) -> "Arrivals":
    """Scans as they come into a folder, matched to the rows of a table where there is one."""
    from pellucid.pipeline.arrivals import Watch, WatchedFiles, WatchedTable
    from pellucid.pipeline.watch import WatchedFolder

    watched = WatchedFolder(folder, settle_s=settle_s)
    if len(inputs) > 1:
        raise typer.BadParameter("a watched folder takes one cases table at most")
    return Watch(WatchedTable(watched, inputs[0]) if inputs else WatchedFiles(watched, mpp))


def empty_cohort() -> "Cohort":
    """No scan: others enter them."""
    from pellucid.domain.cohort import Cohort

    return Cohort(entries=(), name="none")


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
