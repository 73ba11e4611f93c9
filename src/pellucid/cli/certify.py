"""`pellucid certify`: what may be decided without a person, shown on a site's own specimens."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.domain.policy import SitePolicy
    from pellucid.evaluation.certifying import Certified


def certify(
    table: Annotated[Path, typer.Argument(help="A cohort table with labels; its certification split is used.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="The model bundle's folder.")],
    key: Annotated[Path, typer.Option("--key", help="The site's private key that signs the policy.")],
    by: Annotated[str, typer.Option("--by", help="Who certifies: the name beside the signature.")],
    policy: Annotated[
        Path, typer.Option("--policy", help="Where the policy is written; never over another one.")
    ] = Path("policy.json"),
    out: Annotated[
        Path, typer.Option("--out", help="Scores and the account of delta; one folder or database for the whole site.")
    ] = Path("certification"),
    npv: Annotated[float | None, typer.Option(help="Least NPV of the answer negative; 0 claims nothing.")] = 0.95,
    ppv: Annotated[float | None, typer.Option(help="Least PPV of the answer positive.")] = None,
    missed: Annotated[float | None, typer.Option(help="Largest share of mutated specimens called negative.")] = None,
    prevalence_max: Annotated[float | None, typer.Option(help="The NPV holds up to this prevalence.")] = None,
    ceiling: Annotated[
        float,
        typer.Option(help="No answer alone where the other one is more probable than this at the interval's end."),
    ] = 0.35,
    delta: Annotated[float, typer.Option(help="Chance that any claim is false, over the draw of specimens.")] = 0.05,
    budget: Annotated[
        float | None, typer.Option(help="Delta that all certifications on any of these patients may spend; delta.")
    ] = None,
    by_stratum: Annotated[
        list[str] | None, typer.Option("--by-stratum", help="Certify the values of this column (or scanner) apart.")
    ] = None,
    valid_days: Annotated[int, typer.Option(help="How long the certificates hold.")] = 365,
    config: Annotated[Path | None, typer.Option(help="Settings; default: pellucid.toml here, if any.")] = None,
    trust: Annotated[list[Path] | None, typer.Option(help="Public key file or folder to trust as well.")] = None,
    readers: Annotated[int | None, typer.Option(min=1, help="Reader processes; left out: chosen and adjusted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the policy as JSON.")] = False,
) -> None:
    """Score the certification split, test what may be claimed, and write a signed policy in silent mode.

    The model must not have met any of its patients. Each look at their labels spends delta, which the audit trail keeps
    account of. The policy decides nothing until `pellucid policy activate` puts it into force.
    """
    from pellucid.bundle import SigningKey
    from pellucid.cli.progress import RunProgress
    from pellucid.cli.run import EXIT_INTERRUPTED, open_bundle, stoppable
    from pellucid.cohort import read_cohort
    from pellucid.cohort.columns import stratum_name
    from pellucid.core.settings import load_settings
    from pellucid.evaluation import CertificationTargets
    from pellucid.evaluation import certify as carry_out
    from pellucid.pipeline import RunOptions

    settings = load_settings(config)
    targets = CertificationTargets(
        npv=npv or None,
        ppv=ppv,
        missed=missed,
        prevalence_max=prevalence_max,
        ceiling=ceiling,
        delta=delta,
        budget=budget,
        strata=tuple(dict.fromkeys(stratum_name(name) or name for name in by_stratum or ())),
        valid_days=valid_days,
    )
    options = RunOptions(
        keep_bags=settings.keep_bags,
        database=settings.database,
        log_level=settings.log_level,
        command="pellucid certify",
        readers=readers,
        device_threads=settings.threads,
    )
    signing = SigningKey.load(key)
    with RunProgress() as progress, stoppable(progress) as stop:
        certified = carry_out(
            read_cohort(table),
            open_bundle(bundle, settings, trust or []),
            out,
            targets=targets,
            name=settings.site,
            policy_file=policy,
            key=signing,
            signer=by,
            events=progress,
            options=options,
            stop=stop,
        )
    if certified.policy is None:
        typer.echo("Interrupted before its end; no label was opened. The same command goes on.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    show(certified, certified.policy, policy, as_json=as_json)


def show(certified: "Certified", policy: "SitePolicy", file: Path, *, as_json: bool = False) -> None:
    """What was certified, and what it spent."""
    import json

    from pellucid.bundle.policies import warnings_of
    from pellucid.cli.policy import certificate_tables
    from pellucid.core.clock import utc_now
    from pellucid.core.serial import to_plain

    for warning in warnings_of(policy, today=utc_now()[:10]):
        typer.secho(warning, fg=typer.colors.YELLOW, err=True)
    if as_json:
        typer.echo(json.dumps({"policy": to_plain(policy), "digest": policy.digest, "file": str(file)}, indent=2))
        return
    certificate_tables(policy)
    if certified.entry is not None:
        entry = certified.entry
        typer.echo(
            f"Delta spent on these {len(entry.patients)} patients: {entry.delta:g} of {entry.budget:g}, entered in the "
            f"audit trail as event {entry.seq} before their labels were opened."
        )
    typer.echo(f"Policy: {file}, silent until `pellucid policy activate` puts it into force. Research use only.")
