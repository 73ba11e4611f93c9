"""What a number of accelerators makes of a site's slides: replicates of simulated weeks, with intervals over them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pellucid.core.seeds import generator
from pellucid.planning.arrivals import WEEK_S, Arrivals
from pellucid.planning.figures import Rates
from pellucid.planning.needs import Limits, Needs, effective_rate, needs_of
from pellucid.planning.queueing import Failures, serve
from pellucid.planning.sizes import SlideSizes

_WARM_UP_WEEKS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A site: its slides, their sizes, what they cost, what there is besides accelerators, and how those fail."""

    arrivals: Arrivals
    sizes: SlideSizes
    rates: Rates
    limits: Limits = field(default_factory=Limits)
    failures: Failures | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over replicates with its 95% interval (Student's t)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What `n_gpus` accelerators give.

    `load` is the work that comes over the work that can be done; from 1 on the backlog grows without end.
    `utilisation` is the share of time that accelerators worked. Turnaround, in seconds, is from a file's arrival to its
    answer; None where no slide of the kind came. `backlog` are slides more in hand at a week's end than at its begin.
    """

    n_gpus: int
    tile_rate: float
    bound_by: str
    load: float
    utilisation: Interval
    routine_p50_s: Interval | None
    routine_p95_s: Interval | None
    stat_p50_s: Interval | None
    stat_p95_s: Interval | None
    backlog: Interval
    backlog_grows: bool
    needs: Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Week:
    utilisation: float
    routine: tuple[float, float] | None
    stat: tuple[float, float] | None
    backlog: float


def forecast(scenario: Scenario, n_gpus: int, *, replicates: int = 10, weeks: int = 1, seed: int = 0) -> Forecast:
    """Simulate `replicates` times `weeks` weeks after one to warm up. The same seed gives the same forecast.

    Another number of accelerators meets the same slides.
    """
    rate, bound_by = tile_rate(scenario, n_gpus)
    runs = [_replicate(scenario, n_gpus, rate, weeks, seed, number) for number in range(replicates)]
    per_week = scenario.arrivals.slides_per_week
    load = offered_load(scenario, n_gpus)
    backlog = _interval([run.backlog for run in runs])
    return Forecast(
        n_gpus=n_gpus,
        tile_rate=rate,
        bound_by=bound_by,
        load=load,
        utilisation=_interval([run.utilisation for run in runs]),
        routine_p50_s=_interval_of([run.routine for run in runs], 0),
        routine_p95_s=_interval_of([run.routine for run in runs], 1),
        stat_p50_s=_interval_of([run.stat for run in runs], 0),
        stat_p95_s=_interval_of([run.stat for run in runs], 1),
        backlog=backlog,
        backlog_grows=load >= 1 or (backlog.low > 0 and backlog.mean > 0.02 * per_week * weeks),
        needs=needs_of(scenario.rates, n_gpus, rate, scenario.arrivals.busiest_per_s),
    )


def tile_rate(scenario: Scenario, n_gpus: int) -> tuple[float, str]:
    """Tiles/s of each accelerator while all work, and what bounds it."""
    return effective_rate(scenario.rates, n_gpus, scenario.limits, scenario.arrivals.busiest_per_s)


def offered_load(scenario: Scenario, n_gpus: int) -> float:
    """Accelerator seconds that a week's slides need, over those that a week has."""
    rate, _ = tile_rate(scenario, n_gpus)
    there = 1.0 if scenario.failures is None else scenario.failures.availability
    work_s = scenario.arrivals.slides_per_week * scenario.sizes.mean / rate
    return work_s / (n_gpus * there * WEEK_S)


def _replicate(scenario: Scenario, n_gpus: int, rate: float, weeks: int, seed: int, number: int) -> _Week:
    slides = generator("planning", "slides", seed, number)
    arrived, stat = scenario.arrivals.draw(slides, weeks + _WARM_UP_WEEKS)
    work = scenario.sizes.draw(slides, len(arrived)) / rate
    before, after = scenario.rates.latency_before_s, scenario.rates.after_s.value
    served = serve(
        arrived + before,
        work,
        stat,
        n_gpus,
        failures=scenario.failures,
        draw=generator("planning", "failures", seed, number),
    )
    start, end = _WARM_UP_WEEKS * WEEK_S, (weeks + _WARM_UP_WEEKS) * WEEK_S
    turnaround = served.finished_s + after - arrived
    counted = arrived >= start
    done = np.sort(served.finished_s)
    in_hand = [int(np.searchsorted(arrived, time) - np.searchsorted(done, time)) for time in (start, end)]
    return _Week(
        utilisation=served.busy_s(start, end) / (n_gpus * (end - start)),
        routine=_percentiles(turnaround[counted & ~stat]),
        stat=_percentiles(turnaround[counted & stat]),
        backlog=float(in_hand[1] - in_hand[0]),
    )


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float] | None:
    if len(values) == 0:
        return None
    middle, high = np.quantile(values, (0.5, 0.95))
    return float(middle), float(high)


def _interval_of(pairs: list[tuple[float, float] | None], which: int) -> Interval | None:
    values = [pair[which] for pair in pairs if pair is not None]
    return _interval(values) if values else None


def _interval(values: list[float]) -> Interval:
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / n**0.5
    return Interval(mean, mean - half, mean + half)
