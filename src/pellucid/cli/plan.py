"""`pellucid plan`: how many accelerators, cores and how much storage a site needs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pellucid.planning import Plan, Rates, Scenario, SlideSizes

_PROFILES = ("even", "office", "unload")
_NOTICE_S = 120.0
_WEEK_S = 7 * 86_400.0


def plan(
    slides_per_day: Annotated[float, typer.Option(help="Slides on a (working) day.", min=0.01, max=1e6)],
    gpus: Annotated[
        int | None, typer.Option(help="Forecast this many accelerators as well.", min=1, max=10_000)
    ] = None,
    p95_h: Annotated[float | None, typer.Option(help="Hours in which 95% of routine slides are done.", min=0)] = 4.0,
    stat_p95_min: Annotated[
        float | None, typer.Option(help="Minutes in which 95% of STAT slides are done.", min=0)
    ] = 10.0,
    profile: Annotated[str, typer.Option(help=f"When slides come: {', '.join(_PROFILES)}.")] = "office",
    rack: Annotated[int, typer.Option(help="Slides that a batch scanner unloads at once.", min=1, max=10_000)] = 100,
    stat_share: Annotated[float, typer.Option(help="Share of STAT slides.", min=0, max=1)] = 0.05,
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Take tiles per slide and rates from this run's output folder.")
    ] = None,
    tiles_mean: Annotated[float | None, typer.Option(help="Tiles of a slide, on average.", min=1)] = None,
    tiles_spread: Annotated[float, typer.Option(help="Their lognormal spread.", min=0, max=3)] = 0.6,
    tiles_per_s: Annotated[float | None, typer.Option(help="Tiles/s of an accelerator.", min=0.001)] = None,
    read_core_ms: Annotated[float | None, typer.Option(help="Core ms to read a tile.", min=0.001)] = None,
    mb_per_slide: Annotated[float | None, typer.Option(help="MB of a slide's file.", min=0)] = None,
    mb_per_tile: Annotated[float | None, typer.Option(help="MB read for a tile.", min=0.0001)] = None,
    hash_mb_per_s: Annotated[float | None, typer.Option(help="MB/s that a core hashes.", min=0.1)] = None,
    cores: Annotated[float | None, typer.Option(help="Cores there are for all accelerators.", min=1)] = None,
    storage_mb_per_s: Annotated[float | None, typer.Option(help="MB/s that storage gives in all.", min=0.1)] = None,
    failures_per_week: Annotated[float, typer.Option(help="Losses of an accelerator's worker a week.", min=0)] = 0.0,
    down_h: Annotated[float, typer.Option(help="Hours until a lost worker is back.", min=0.001)] = 0.5,
    most: Annotated[int, typer.Option(help="Search up to this many accelerators.", min=1, max=1000)] = 200,
    replicates: Annotated[int, typer.Option(help="Simulated weeks to take intervals over.", min=2, max=1000)] = 10,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate a site's queue: how long slides take, and what accelerators, cores and storage that needs."""
    from dataclasses import replace

    from pellucid.planning import (
        Arrivals,
        Failures,
        Limits,
        Profile,
        Scenario,
        SlideSizes,
        Targets,
        default_rates,
        given,
        make_plan,
    )

    if profile not in _PROFILES:
        raise typer.BadParameter(f"--profile is one of {', '.join(_PROFILES)}")
    rates, sizes = default_rates(), SlideSizes()
    if from_run is not None:
        rates, sizes = _of_run(from_run, rates)
    if tiles_mean is not None:
        sizes = SlideSizes(mean=tiles_mean, spread=tiles_spread)
    elif from_run is None:
        sizes = replace(sizes, spread=tiles_spread)
    scenario = Scenario(
        arrivals=Arrivals(slides_per_day=slides_per_day, stat_share=stat_share, profile=Profile(profile), rack=rack),
        sizes=sizes,
        rates=given(
            rates,
            tiles_per_s=tiles_per_s,
            read_core_s=None if read_core_ms is None else read_core_ms / 1000,
            mb_per_slide=mb_per_slide,
            mb_per_tile=mb_per_tile,
            hash_mb_per_s=hash_mb_per_s,
        ),
        limits=Limits(cores=cores, storage_mb_per_s=storage_mb_per_s),
        failures=None
        if failures_per_week == 0
        else Failures(mean_up_s=_WEEK_S / failures_per_week, down_s=down_h * 3600, notice_s=_NOTICE_S),
    )
    targets = Targets(
        routine_p95_s=None if p95_h is None else p95_h * 3600,
        stat_p95_s=None if stat_p95_min is None else stat_p95_min * 60,
    )
    made = make_plan(scenario, targets, n_gpus=gpus, most=most, replicates=replicates, seed=seed)
    if as_json:
        typer.echo(json.dumps(_plain(made, scenario, targets, replicates), indent=2, allow_nan=False))
        return
    from pellucid.cli.plan_tables import show_plan

    show_plan(made, scenario, targets, replicates)


def _of_run(out: Path, rates: "Rates") -> tuple["Rates", "SlideSizes"]:
    import numpy as np

    from pellucid.planning import SlideSizes, measured_rates
    from pellucid.planning.errors import NothingMeasured
    from pellucid.records import DATABASE_NAME, open_records

    with open_records(out / DATABASE_NAME, create=False) as records:
        observations = [one for one in records.observations() if one.error is None and one.n_tiles > 0]
    if not observations:
        raise NothingMeasured(f"{out} has no answered scan.")
    n_tiles = np.array([one.n_tiles for one in observations], dtype=np.int64)
    return measured_rates(rates, observations), SlideSizes.of(n_tiles)


def _plain(made: "Plan", scenario: "Scenario", targets: Any, replicates: int) -> dict[str, Any]:
    from pellucid.core.serial import to_plain
    from pellucid.planning import assumptions

    return {
        **to_plain(made),
        "targets": to_plain(targets),
        "arrivals": to_plain(scenario.arrivals),
        "figures": to_plain(scenario.rates),
        "replicates": replicates,
        "assumptions": list(assumptions(scenario)),
    }
