"""What a plan takes for granted, in sentences for whoever decides by it."""

from pellucid.planning.figures import Source
from pellucid.planning.forecasts import Scenario


def assumptions(scenario: Scenario) -> tuple[str, ...]:
    """The sentences, those on the scenario's own figures first."""
    arrivals, sizes, rates = scenario.arrivals, scenario.sizes, scenario.rates
    rate = rates.tiles_per_s
    unmeasured = rate.source is not Source.MEASURED
    return (
        f"An accelerator's {rate.value:,.4g} tiles/s are {rate.source.value}"
        + (f" ({rate.note}): measure it on the real one before buying by this." if unmeasured else f": {rate.note}."),
        arrivals.profile.describe(arrivals.rack),
        sizes.describe(),
        _failures(scenario),
        *_SENTENCES,
    )


_SENTENCES = (
    "A slide is done by one accelerator, STAT before routine, else in the order of arrival, and is not interrupted.",
    "The engine mixes tiles of several slides in a batch: accelerators stay full, and a slide may take a bit longer.",
    "Turnaround is from the file's last byte to the answer of that scan; a specimen waits for its last scan.",
    "Accelerators share cores and storage evenly; slides that arrive at once are hashed and prepared at the same time.",
    "Nothing is kept in reserve: for maintenance, other work and growth, plan more.",
)


def _failures(scenario: Scenario) -> str:
    failures = scenario.failures
    if failures is None:
        return "No accelerator is ever lost; --failures-per-week says otherwise."
    return (
        f"A worker is lost every {failures.mean_up_s / 86_400:.1f} days at random, for {failures.down_s / 3600:g} h; "
        f"its slide goes on elsewhere after {failures.notice_s:.0f} s with its tiles kept."
    )
