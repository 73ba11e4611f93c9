"""`pellucid evaluate`: how good the answers are on a test split, and what the policy would have decided."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    table: Annotated[Path, typer.Argument(help="A cohort table with labels.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Scores, report and figures; the same folder resumes.")] = Path(
        "evaluation"
    ),
    split: Annotated[str, typer.Option(help="Which split of the table.")] = "test",
    policy: Annotated[
        Path | None, typer.Option(help="The site's policy; default: that of the settings, if any.")
    ] = None,
    policy_key: Annotated[
        list[Path] | None, typer.Option(help="Public key file or folder of the site's own, beside the settings'.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Score a test split and write `evaluation.html` and `evaluation.json`.

    The patients must be ones whom neither the model nor the certification has met.
    """
    import json

    from pellucid.cli.progress import RunProgress
    from pellucid.cli.run import EXIT_INTERRUPTED, open_bundle, site_policy, stoppable
    from pellucid.cohort import read_cohort
    from pellucid.core.serial import to_plain
    from pellucid.core.settings import load_settings
    from pellucid.domain.cohort import Split
    from pellucid.evaluation import evaluate as carry_out
    from pellucid.pipeline import RunOptions
    from pellucid.reports.evaluation import write_evaluation

    known = [one.value for one in Split]
    if split not in known:
        raise typer.BadParameter(f"{split!r} is no split; use one of {', '.join(known)}")
    settings = load_settings(config)
    opened = open_bundle(bundle, settings, trust or [])
    options = RunOptions(
        keep_bags=settings.keep_bags,
        database=settings.database,
        log_level=settings.log_level,
        command="pellucid evaluate",
        readers=readers,
        device_threads=settings.threads,
    )
    with RunProgress() as progress, stoppable(progress) as stop:
        evaluated = carry_out(
            read_cohort(table),
            opened,
            out,
            split=Split(split),
            policy=site_policy(opened, settings, policy, policy_key or []),
            events=progress,
            options=options,
            stop=stop,
        )
    if evaluated.report is None:
        typer.echo("Interrupted before its end. The same command goes on.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    page = write_evaluation(out, evaluated.report)
    if as_json:
        typer.echo(json.dumps(to_plain(evaluated.report), indent=2))
    else:
        typer.echo(f"Report: {page}   Research use only.")
