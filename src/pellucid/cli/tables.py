"""Tables in the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pellucid.demo import KindRow
    from pellucid.reports.views import SpecimenView


def specimen_table(views: Sequence["SpecimenView"]) -> None:
    """One line a specimen: scans answered of all, probability and interval, verdict, reasons; under pseudonyms."""
    table = Table(title="Specimens (research use only)", title_justify="left")
    table.add_column("specimen", no_wrap=True)
    table.add_column("scans", justify="right", no_wrap=True)
    table.add_column("probability", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("reasons", min_width=20)
    for view in views:
        posterior = view.decision.posterior
        failed = sum(scan.failure is not None for scan in view.scans)
        table.add_row(
            view.pseudonym,
            f"{len(view.scans) - failed}/{len(view.scans)}",
            "-" if posterior is None else f"{posterior.probability:.2f} ({posterior.low:.2f}-{posterior.high:.2f})",
            view.decision.verdict.value,
            ", ".join(reason.value for reason in view.decision.reasons),
        )
    Console(width=None).print(table)


def kinds_table(rows: Sequence["KindRow"]) -> None:
    """One line a planted kind: what was decided alone, how often wrongly, and why the others were escalated."""
    table = Table(title="Planted kind against what became of it (specimens)", title_justify="left")
    table.add_column("planted", no_wrap=True)
    for name in ("all", "neg", "pos", "wrong"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("escalated for", min_width=24)
    totals = [0, 0, 0, 0]
    for row in rows:
        counts = (row.n_specimens, row.n_negative, row.n_positive, row.n_wrong)
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        found = ", ".join(f"{reason.value} ({count})" for reason, count in row.reasons) or "-"
        table.add_row(row.kind, *map(str, counts), found)
    table.add_section()
    table.add_row("all", *map(str, totals), f"{totals[0] - totals[1] - totals[2]} in all", style="bold")
    Console(width=None).print(table)
