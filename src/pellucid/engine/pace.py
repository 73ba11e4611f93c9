"""How long things take here, so that the next scan is looked at before the tiles of those in hand run out."""

from collections.abc import Callable

_WEIGHT = 0.2
_AHEAD = 2.0
_ASSUMED_S = 2.0


class Pace:
    """Running means of what was measured.

    Args:
        batch: tiles in a batch.
        devices: how many devices embed.
        backlog: gives the tiles that no reader has yet.
    """

    def __init__(self, batch: int, devices: int, backlog: Callable[[], int]) -> None:
        self._batch, self._devices, self._backlog = batch, devices, backlog
        self._tiles_per_s = 0.0
        self._prepare_s = _ASSUMED_S
        self._identify_s = _ASSUMED_S

    def encoded(self, tiles: int, seconds: float) -> None:
        """A device embedded so many tiles in so long."""
        speed = tiles / max(seconds, 1e-6)
        self._tiles_per_s = speed if self._tiles_per_s == 0.0 else _mean(self._tiles_per_s, speed)

    def prepared(self, seconds: float) -> None:
        """A scan was looked at in so long."""
        self._prepare_s = _mean(self._prepare_s, seconds)

    def identified(self, seconds: float) -> None:
        """A file was hashed in so long."""
        self._identify_s = _mean(self._identify_s, seconds)

    def runs_out(self, *, unhashed: bool) -> bool:
        """Whether tiles run out before the next scan can be looked at.

        Args:
            unhashed: whether its file must be hashed before that.
        """
        lead_s = _AHEAD * (self._prepare_s + (self._identify_s if unhashed else 0.0))
        return self._backlog() < max(2 * self._batch, lead_s * self._tiles_per_s * self._devices)


def _mean(before: float, measured: float) -> float:
    return before + _WEIGHT * (measured - before)
