"""Who watches an engine, and who asks it to stop."""

from typing import TYPE_CHECKING, Protocol

from pellucid.core.errors import PellucidError

if TYPE_CHECKING:
    from pellucid.engine.engine import Engine


class EngineEvents(Protocol):
    """What somebody who watches an engine is told, in its event loop."""

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""

    def tiles(self, number: int) -> None:
        """So many more tiles are embedded."""

    def paused(self, because: PellucidError | None) -> None:
        """The engine waits for its disk, database or storage; None: it goes on."""

    def beat(self, engine: "Engine") -> None:
        """About once a second: look at the engine and say what is seen."""


class Stopping(Protocol):
    """Whether somebody asked to stop: `asked` after what is in hand, `now` at once."""

    asked: bool
    now: bool
