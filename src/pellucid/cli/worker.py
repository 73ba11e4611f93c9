"""`pellucid worker`: do what others entered into the queue, on as many machines as there are."""

from pathlib import Path
from typing import Annotated

import typer


def worker(
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where results go.")] = Path("out"),
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="The site's policy; default: that of the settings, if any.")
    ] = None,
    policy_key: Annotated[
        list[Path] | None, typer.Option(help="Public key file or folder of the site's own, beside the settings'.")
    ] = None,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when the queue is empty; else go on until stopped.")
    ] = False,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    grace: Annotated[float, typer.Option(help="Seconds that scans in hand may go on after a stop signal.")] = 60.0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for a full disk or a lost database.")] = 3600.0,
    live: Annotated[bool, typer.Option("--live", help="Show the engine at work.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Do the scans of this bundle that wait in the queue of the settings' database.

    Several workers share one PostgreSQL queue; each takes only scans entered for its own bundle, and all of a
    site should name the same policy. SIGTERM drains; a worker that dies is noticed, and its scans go to others.
    """
    from pellucid.cli.run import carry_out, empty_cohort, end, open_bundle, show, site_policy
    from pellucid.core.settings import load_settings
    from pellucid.pipeline import RunOptions

    settings = load_settings(config)
    options = RunOptions(
        keep_bags=settings.keep_bags,
        database=settings.database,
        metrics_port=settings.metrics_port,
        log_level=settings.log_level,
        command="pellucid worker",
        serves=not until_empty,
        readers=readers,
        device_threads=settings.threads,
        grace_s=grace,
        patience_s=patience,
    )
    loaded = open_bundle(bundle, settings, trust or [])
    terms = site_policy(loaded, settings, policy, policy_key or [])
    summary, published = carry_out(empty_cohort(), loaded, out, terms, options, live=live)
    show(summary, published, as_json=as_json)
    end(summary, strict=False, until_stopped=not until_empty)
