"""`pellucid explain SPECIMEN`: the answer derived again from what is stored, step by step."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pellucid.pipeline.explanation import Explanation


def explain(
    specimen: Annotated[str, typer.Argument(help="A pseudonym from the pages, or the name in the cases table.")],
    out: Annotated[Path, typer.Option("--out", help="The run's output folder.")] = Path("out"),
    database: Annotated[str | None, typer.Option("--db", help="Database URL or path instead of --out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Derive a specimen's answer again from its stored logits, and show each step. Needs neither model nor torch."""
    import json

    from pellucid.core.serial import to_plain
    from pellucid.pipeline.explanation import explain_specimen
    from pellucid.records import DATABASE_NAME, open_records

    with open_records(database or out / DATABASE_NAME, create=False) as records:
        explanation = explain_specimen(records, specimen)
    if as_json:
        typer.echo(json.dumps(to_plain(explanation), indent=2))
    else:
        typer.echo("\n".join(_lines(explanation)))


def _lines(explanation: "Explanation") -> list[str]:
    gates, decision, recorded = explanation.gates, explanation.derived, explanation.recorded
    lines = [f"Specimen {explanation.pseudonym}, decision version {recorded.version} of run {recorded.run}", ""]
    for scan in explanation.scans:
        lines.append(f"Scan {scan.pseudonym}")
        if scan.posterior is not None:
            logits = scan.posterior.logits
            lines += [
                f"  {len(logits)} raw logits from {min(logits):.3f} to {max(logits):.3f}",
                (
                    f"  divided by the temperature {gates.temperature:.4f}: mean {scan.posterior.mean_logit:.3f}, "
                    f"sd {scan.posterior.sd_logit:.3f}"
                ),
            ]
        if scan.failure is not None:
            lines.append(f"  no answer: {scan.failure}")
    posterior = decision.posterior
    if posterior is not None:
        lines += [
            "",
            f"{posterior.n_scans} scan(s) combined pass by pass",
            f"  mean logit {posterior.mean_logit:.4f}, sd {posterior.sd_logit:.4f} (limit {gates.sd_limit:.4f})",
            f"  probability = logistic({posterior.mean_logit:.4f}) = {posterior.probability:.4f}",
            f"  central {posterior.level:.0%} of the passes: {posterior.low:.4f} to {posterior.high:.4f}",
            f"  entropy {posterior.entropy:.4f} nats, from disagreement {posterior.mutual_information:.4f}",
        ]
    certificate, scores = explanation.certificate, explanation.scores
    if certificate is not None and scores is not None:
        lines += ["", f"Certificate for {certificate.title}, in calibrated logits"]
        for side, limit, end, relation in (
            ("negative", certificate.negative, scores.upper, "at most"),
            ("positive", certificate.positive, scores.lower, "at least"),
        ):
            told = "no threshold was certified" if limit is None else f"{relation} {limit:.4f}"
            lines.append(f"  {side}: the interval ends at {end:.4f}, tolerance included ({told})")
    why = "because:" if decision.findings else "as nothing speaks against it."
    lines += ["", f"{decision.verdict.value}, {decision.disposition.value.replace('_', ' ')}, {why}"]
    lines += [f"  {finding.reason.value:20}{finding.detail}" for finding in decision.findings]
    versions = decision.versions
    lines += [
        "",
        f"model {versions.model[:16]}  policy {versions.policy[:16]}  software {versions.software[:16]}",
        "The recorded decision follows from the recorded evidence.",
        "Research use only.",
    ]
    return lines
