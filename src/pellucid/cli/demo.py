"""`pellucid demo`: the whole way, from generated slides to pages."""

import os
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pellucid.cli.threads import spin_less


def demo(
    out: Annotated[Path, typer.Option("--out", help="A folder for all of it; a former demo there is replaced.")] = Path(
        "demo-out"
    ),
    seed: Annotated[int, typer.Option(help="Another seed is another cohort.")] = 0,
    small: Annotated[bool, typer.Option("--small", help="Fewer and smaller slides, for a quick look.")] = False,
) -> None:
    """Generate slides, train a model, certify what it may decide, run it on unseen specimens, and show the pages."""
    spin_less()
    from pellucid.cli.policy import certificate_tables
    from pellucid.cli.progress import RunProgress
    from pellucid.cli.run import EXIT_INTERRUPTED, carry_out, open_bundle, show, stoppable
    from pellucid.cli.tables import kinds_table
    from pellucid.core.settings import Settings
    from pellucid.demo import (
        FULL,
        SMALL,
        evaluate_run,
        kinds_and_reasons,
        make_bundle,
        make_cohort,
        make_policy,
        prepare,
        unseen,
    )
    from pellucid.pipeline import RunOptions

    start = time.monotonic()
    scale = SMALL if small else FULL

    def step(text: str) -> None:
        typer.secho(f"[{time.monotonic() - start:5.0f} s] {text}", bold=True, err=True)

    step("Everything here is SYNTHETIC: generated slides, a model trained on them. Research use only.")
    places = prepare(out)
    step(f"1/6 Generating {scale.n_specimens} specimens")
    cohort = make_cohort(places, scale, seed=seed)
    step("2/6 Training encoder and attention heads, calibrating, signing the bundle")
    make_bundle(places, cohort, seed=seed, progress=_progress)
    step("3/6 Certifying on specimens that the model has never met")
    bundle = open_bundle(places.bundle, Settings(trusted_keys=(places.public_key,)), [])
    with RunProgress() as progress, stoppable(progress) as stop:
        policy = make_policy(places, cohort, bundle, events=progress, stop=stop)
    if policy is None:
        raise typer.Exit(EXIT_INTERRUPTED)
    certificate_tables(policy)
    step("4/6 Deciding the unseen specimens under the certified policy")
    summary, published = carry_out(unseen(cohort), bundle, places.run, policy, RunOptions(command="pellucid demo"))
    show(summary, published)
    if not summary.completed:
        raise typer.Exit(EXIT_INTERRUPTED)
    step("5/6 Holding the answers against what was planted")
    report = evaluate_run(places, cohort, bundle, policy)
    step("6/6 What was planted, and what Pellucid said of it")
    kinds_table(kinds_and_reasons(places, cohort, published))
    typer.echo(f"Next: pellucid explain {published.specimens[0].pseudonym} --out {places.run}")
    typer.echo(f"      pellucid monitor report --out {places.run} --bundle {places.bundle} --trust {places.public_key}")
    typer.echo(f"      pellucid audit verify --out {places.run}")
    typer.echo(f"      pellucid policy show {places.policy} --policy-key {places.site_public_key}")
    step(f"Done. Open {published.index} and {report}")
    if os.environ.get("NO_BROWSER") != "1" and os.environ.get("DISPLAY"):
        webbrowser.open(published.index.absolute().as_uri())


def _progress(stage: str, done: int, total: int) -> None:
    if done == total or done % max(1, total // 4) == 0:
        typer.echo(f"        {stage} {done}/{total}", err=True)
