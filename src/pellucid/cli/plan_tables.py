"""A plan in the terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pellucid.planning import assumptions

if TYPE_CHECKING:
    from pellucid.planning import Forecast, Interval, Plan, Scenario, Targets


def show_plan(made: "Plan", scenario: "Scenario", targets: "Targets", replicates: int) -> None:
    """The forecasts side by side, the verdict, the figures they stand on, and what is assumed."""
    console = Console(highlight=False)
    if columns := _columns(made):
        console.print(_forecasts(columns, replicates))
    console.print(_verdict(made, targets), "\n")
    console.print(_figures(scenario))
    console.print("What this assumes:")
    for sentence in assumptions(scenario):
        console.print(f"  - {sentence}")


def _columns(made: "Plan") -> list[tuple[str, "Forecast"]]:
    if made.asked is not None and made.smallest is not None and made.asked.n_gpus == made.smallest.n_gpus:
        return [("asked, and the smallest", made.asked)]
    columns = [("asked", made.asked), ("the smallest", made.smallest)]
    return [(title, found) for title, found in columns if found is not None]


def _forecasts(columns: list[tuple[str, "Forecast"]], replicates: int) -> Table:
    table = Table(title=f"Forecast, 95% intervals over {replicates} simulated weeks", title_justify="left")
    table.add_column("")
    for title, _ in columns:
        table.add_column(title, justify="right")
    for name, cells in _rows([found for _, found in columns]):
        table.add_row(name, *cells)
    return table


def _rows(all_found: list["Forecast"]) -> list[tuple[str, list[str]]]:
    return [
        ("accelerators", [str(one.n_gpus) for one in all_found]),
        ("tiles/s each, bounded by", [f"{one.tile_rate:,.4g}, {one.bound_by}" for one in all_found]),
        ("load", [f"{one.load:.0%}" for one in all_found]),
        ("utilisation", [f"{one.utilisation.mean:.0%}" for one in all_found]),
        ("routine, half done in", [_minutes(one.routine_p50_s) for one in all_found]),
        ("routine, 95% done in", [_minutes(one.routine_p95_s) for one in all_found]),
        ("STAT, half done in", [_minutes(one.stat_p50_s) for one in all_found]),
        ("STAT, 95% done in", [_minutes(one.stat_p95_s) for one in all_found]),
        ("backlog grows", ["YES" if one.backlog_grows else "no" for one in all_found]),
        ("cores needed", [f"{one.needs.cores:,.0f}" for one in all_found]),
        ("storage needed", [f"{one.needs.storage_mb_per_s:,.0f} MB/s" for one in all_found]),
        ("memory needed", [f"{one.needs.memory_gb:,.0f} GB" for one in all_found]),
    ]


def _figures(scenario: "Scenario") -> Table:
    table = Table(title="Figures it stands on", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("from")
    rates = scenario.rates
    for name in rates.__slots__:
        one = getattr(rates, name)
        table.add_row(name, f"{one.value:,.4g} {one.unit}", f"{one.source.value}: {one.note}")
    return table


def _verdict(made: "Plan", targets: "Targets") -> str:
    asked = []
    if targets.routine_p95_s is not None:
        asked.append(f"95% of routine slides in {targets.routine_p95_s / 3600:g} h")
    if targets.stat_p95_s is not None:
        asked.append(f"95% of STAT slides in {targets.stat_p95_s / 60:g} min")
    wish = " and ".join(asked) or "a backlog that doesn't grow"
    if made.smallest is None:
        return f"No number of accelerators for {wish}: {made.why_none}"
    count = made.smallest.n_gpus
    return f"{count} {'accelerator' if count == 1 else 'accelerators'} for {wish}."


def _minutes(interval: "Interval | None") -> str:
    if interval is None:
        return "-"
    return f"{interval.mean / 60:,.1f} min ({max(0.0, interval.low) / 60:,.1f}-{interval.high / 60:,.1f})"
