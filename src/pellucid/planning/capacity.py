"""The smallest number of accelerators that meets a site's targets."""

import math
from dataclasses import dataclass

from pellucid.planning.forecasts import Forecast, Interval, Scenario, forecast, offered_load

_SEARCH_REPLICATES, _SEARCH_SLIDES = 4, 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Seconds of turnaround that 95 of 100 slides may take, routine and STAT; None is no target."""

    routine_p95_s: float | None = None
    stat_p95_s: float | None = None

    def met_by(self, found: Forecast) -> bool:
        """Whether the backlog doesn't grow and the targets lie above the upper ends of the intervals."""
        pairs = ((self.routine_p95_s, found.routine_p95_s), (self.stat_p95_s, found.stat_p95_s))
        return not found.backlog_grows and all(_within(target, interval) for target, interval in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The forecast of the number asked for, and that of the smallest that meets the targets.

    `smallest` is None where none up to `most` does; `why_none` says why.
    """

    asked: Forecast | None
    smallest: Forecast | None
    most: int
    why_none: str | None = None


def make_plan(
    scenario: Scenario,
    targets: Targets,
    *,
    n_gpus: int | None = None,
    most: int = 200,
    replicates: int = 10,
    weeks: int = 1,
    seed: int = 0,
) -> Plan:
    """Forecast `n_gpus`, where given, and search for the smallest number of at most `most` that meets the targets."""

    def look(number: int, count: int) -> Forecast:
        return forecast(scenario, number, replicates=count, weeks=weeks, seed=seed)

    asked = None if n_gpus is None else look(n_gpus, replicates)
    least = _least(scenario, most)
    if least is None:
        return Plan(
            asked=asked, smallest=None, most=most, why_none=f"{most} accelerators can't do the work that comes."
        )
    number = _search(scenario, targets, least, most, weeks, seed)
    found = asked if asked is not None and asked.n_gpus == number else look(number, replicates)
    while not targets.met_by(found) and number < most:
        number += 1
        found = look(number, replicates)
    if not targets.met_by(found):
        return Plan(asked=asked, smallest=None, most=most, why_none=_why_none(scenario, targets, found))
    while number > least and targets.met_by(fewer := look(number - 1, replicates)):
        number, found = number - 1, fewer
    return Plan(asked=asked, smallest=found, most=most)


def _least(scenario: Scenario, most: int) -> int | None:
    """The smallest number whose load is below 1; a limit that all share may leave none."""
    first = max(1, math.floor(offered_load(scenario, 1)))
    return next((number for number in range(min(first, most), most + 1) if offered_load(scenario, number) < 1), None)


def _search(scenario: Scenario, targets: Targets, least: int, most: int, weeks: int, seed: int) -> int:
    """About the smallest number: found by few replicates, more accelerators never being slower with the same slides."""
    count = min(_SEARCH_REPLICATES, math.ceil(_SEARCH_SLIDES / (scenario.arrivals.slides_per_week * weeks)))

    def meets(number: int) -> bool:
        found = forecast(scenario, number, replicates=count, weeks=weeks, seed=seed)
        return _on_average(targets, found)

    low, high, step = least - 1, least, 1
    while high <= most and not meets(high):
        low, high, step = high, high + step, 2 * step
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def _on_average(targets: Targets, found: Forecast) -> bool:
    pairs = ((targets.routine_p95_s, found.routine_p95_s), (targets.stat_p95_s, found.stat_p95_s))
    return not found.backlog_grows and all(
        target is None or interval is None or interval.mean <= target for target, interval in pairs
    )


def _within(target: float | None, interval: Interval | None) -> bool:
    return target is None or interval is None or interval.high <= target


def _why_none(scenario: Scenario, targets: Targets, found: Forecast) -> str:
    names = {"routine": (targets.routine_p95_s, found.routine_p95_s), "STAT": (targets.stat_p95_s, found.stat_p95_s)}
    missed = [
        f"{name} 95% in {interval.high / 60:.1f} min at best"
        for name, (target, interval) in names.items()
        if target is not None and interval is not None and interval.high > target
    ]
    alone = scenario.rates.latency_before_s + scenario.rates.after_s.value + scenario.sizes.mean / found.tile_rate
    return (
        f"{found.n_gpus} accelerators miss the targets ({'; '.join(missed) or 'the backlog grows'}); "
        f"an average slide that waits for nothing takes {alone:.0f} s."
    )
