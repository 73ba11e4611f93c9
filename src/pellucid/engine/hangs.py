"""Which scans and files hung in the system, and whether that is their fault or that of storage that hangs for all."""

import time
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class _Hang:
    first: float
    at: float
    blamed: int = 0


class Hangs:
    """Who hung is held back until somebody was served.

    It is blamed where it hangs again after that: storage serves others, and not this one. While several hang, and
    nobody is served, none is blamed.
    """

    def __init__(self) -> None:
        self._hangs: dict[Hashable, _Hang] = {}
        self._served = 0.0

    def served(self) -> None:
        """Somebody got something from storage."""
        self._served = time.monotonic()

    def hung(self, who: Hashable) -> int:
        """A job of this scan or file hung; how often that was its own fault."""
        now = time.monotonic()
        hang = self._hangs.get(who)
        if hang is None:
            self._hangs[who] = _Hang(first=now, at=now)
            return 0
        alone = not any(self.holds(other) for other in self._hangs if other is not who)
        hang.blamed += hang.at < self._served or (alone and hang.first < self._served)
        hang.at = now
        return hang.blamed

    def forget(self, who: Hashable) -> None:
        """It ended."""
        self._hangs.pop(who, None)

    def holds(self, who: Hashable) -> bool:
        """Whether it hung, and nobody was served since."""
        hang = self._hangs.get(who)
        return hang is not None and hang.at > self._served

    def __bool__(self) -> bool:
        """Whether any is held back."""
        return any(self.holds(who) for who in self._hangs)
