"""Floor 1: how many accelerators, cores and how much storage a site needs, by simulating its queue. Pure functions.

Knows no records and no engine: what was measured comes in as numbers, each saying where it is from.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.planning.arrivals import Arrivals, Profile
    from pellucid.planning.capacity import Plan, Targets, make_plan
    from pellucid.planning.figures import Figure, Rates, Source, default_rates, given, measured_rates
    from pellucid.planning.forecasts import Forecast, Interval, Scenario, forecast
    from pellucid.planning.needs import Limits, Needs, effective_rate, needs_of
    from pellucid.planning.premises import assumptions
    from pellucid.planning.queueing import Failures, Served, serve
    from pellucid.planning.sizes import SlideSizes

# numpy and the simulation are loaded with the first name that needs them: `pellucid --help` doesn't.
_HOMES = {
    "arrivals": ("Arrivals", "Profile"),
    "capacity": ("Plan", "Targets", "make_plan"),
    "figures": ("Figure", "Rates", "Source", "default_rates", "given", "measured_rates"),
    "forecasts": ("Forecast", "Interval", "Scenario", "forecast"),
    "needs": ("Limits", "Needs", "effective_rate", "needs_of"),
    "premises": ("assumptions",),
    "queueing": ("Failures", "Served", "serve"),
    "sizes": ("SlideSizes",),
}
_LAZY = {name: f"pellucid.planning.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "Arrivals",
    "Failures",
    "Figure",
    "Forecast",
    "Interval",
    "Limits",
    "Needs",
    "Plan",
    "Profile",
    "Rates",
    "Scenario",
    "Served",
    "SlideSizes",
    "Source",
    "Targets",
    "assumptions",
    "default_rates",
    "effective_rate",
    "forecast",
    "given",
    "make_plan",
    "measured_rates",
    "needs_of",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
