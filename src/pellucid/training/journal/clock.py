"""Two clocks: one that people and other machines read, and one that never goes back."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """`at` in seconds since 1970; `ticks` in seconds of a clock that only goes forward, for spans."""

    at: float
    ticks: float

    @property
    def text(self) -> str:
        """Such as `2026-11-23T10:17:00.123Z`."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Clock = Callable[[], Moment]


def system_clock() -> Moment:
    """This moment."""
    return Moment(at=time.time(), ticks=time.monotonic())
