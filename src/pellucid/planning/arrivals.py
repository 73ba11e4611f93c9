"""When slides come: evenly, in office hours, or by the rack of a batch scanner."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
_OPENS_H, _CLOSES_H = 7.0, 18.0
_WORKING_DAYS = 5


class Profile(StrEnum):
    """The shape of a week."""

    EVEN = "even"
    OFFICE = "office"
    UNLOAD = "unload"

    def describe(self, rack: int) -> str:
        """A sentence on it."""
        if self is Profile.EVEN:
            return "Slides come at random at any time, seven days a week."
        hours = f"Slides come on working days from {_OPENS_H:.0f} to {_CLOSES_H:.0f} h"
        if self is Profile.OFFICE:
            return f"{hours}, at random; the rate is that of a working day."
        return f"{hours}, routine ones {rack} at once as a batch scanner unloads; the rate is that of a working day."


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """A site's intake: slides a (working) day, the share of them that is STAT, and the profile; racks of `rack`."""

    slides_per_day: float
    stat_share: float = 0.05
    profile: Profile = Profile.OFFICE
    rack: int = 100

    @property
    def slides_per_week(self) -> float:
        """Slides of a week on average."""
        return self.slides_per_day * (7 if self.profile is Profile.EVEN else _WORKING_DAYS)

    @property
    def busiest_per_s(self) -> float:
        """Slides per second while slides come."""
        hours = 24.0 if self.profile is Profile.EVEN else _CLOSES_H - _OPENS_H
        return self.slides_per_day / (hours * 3600)

    def draw(self, draw: np.random.Generator, weeks: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Times of arrival `(n,) float64`, seconds from Monday 0 h, ascending, and which are STAT `(n,) bool`."""
        routine_rate = self.slides_per_week * (1 - self.stat_share)
        rack = self.rack if self.profile is Profile.UNLOAD else 1
        n_loads = draw.poisson(routine_rate * weeks / rack)
        routine = np.repeat(self._times(draw, n_loads, weeks), rack)
        urgent = self._times(draw, draw.poisson(self.slides_per_week * self.stat_share * weeks), weeks)
        times = np.concatenate([routine, urgent])
        is_stat = np.concatenate([np.zeros(len(routine), dtype=np.bool_), np.ones(len(urgent), dtype=np.bool_)])
        order = np.argsort(times, kind="stable")
        return times[order], is_stat[order]

    def _times(self, draw: np.random.Generator, count: int, weeks: int) -> NDArray[np.float64]:
        if self.profile is Profile.EVEN:
            return draw.uniform(0, weeks * WEEK_S, size=count)
        days = draw.integers(0, weeks * _WORKING_DAYS, size=count)
        monday, day = np.divmod(days, _WORKING_DAYS)
        hours = draw.uniform(_OPENS_H, _CLOSES_H, size=count)
        return monday * WEEK_S + day * DAY_S + hours * 3600
