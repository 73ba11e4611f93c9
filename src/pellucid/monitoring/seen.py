"""What the model sees: where scans come from, at which scale, and how they look in numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pellucid.domain.observation import Observation
from pellucid.monitoring.rates import Count, Rate, Spread, count, rate, spread

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The input of all observations.

    `strata` gives the counts by stratum; `features` and `seconds` the spread by feature and by stage; `failures` counts
    the failed scans by error code.
    """

    n_observations: int
    n_scans: int
    n_specimens: int
    first_at: str | None
    last_at: str | None
    scanners: tuple[Count, ...]
    mpp: tuple[Count, ...]
    mpp_sources: tuple[Count, ...]
    strata: dict[str, tuple[Count, ...]]
    tiles: Spread | None
    features: dict[str, Spread]
    seconds: dict[str, Spread]
    failed: Rate
    failures: tuple[Count, ...]
    models: tuple[Count, ...]
    purposes: tuple[Count, ...]


def describe_input(observations: Sequence[Observation]) -> Seen:
    """What `observations`, in the order of their time, say of the input."""
    codes = [observation.error for observation in observations if observation.error is not None]
    columns = sorted({name for observation in observations for name in observation.strata})
    return Seen(
        n_observations=len(observations),
        n_scans=len({observation.scan for observation in observations}),
        n_specimens=len({observation.specimen for observation in observations}),
        first_at=observations[0].at if observations else None,
        last_at=observations[-1].at if observations else None,
        scanners=count(observation.scanner or UNKNOWN for observation in observations),
        mpp=count(f"{one.mpp:.3f}" if one.mpp is not None else UNKNOWN for one in observations),
        mpp_sources=count(observation.mpp_source or UNKNOWN for observation in observations),
        strata={name: count(one.strata.get(name) or UNKNOWN for one in observations) for name in columns},
        tiles=spread(one.n_tiles for one in observations if one.error is None),
        features=_spreads(observation.features for observation in observations),
        seconds=_spreads(observation.timings for observation in observations),
        failed=rate(len(codes), len(observations)),
        failures=count(codes),
        models=count(observation.model for observation in observations),
        purposes=count(observation.purpose for observation in observations),
    )


def _spreads(rows: Iterable[dict[str, float]]) -> dict[str, Spread]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    spreads = {name: spread(values) for name, values in sorted(columns.items())}
    return {name: found for name, found in spreads.items() if found is not None}
