"""Writing embeddings: at once, or later where the disk takes nothing at the moment."""

from collections.abc import Callable, Iterable

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.core.telemetry import logs
from pellucid.engine.aside import Aside
from pellucid.engine.checkpoint import Checkpoint
from pellucid.engine.desk import Desk
from pellucid.engine.ends import OutputGone

Write = Callable[[], None]


class Disk:
    """Where checkpoints go.

    Args:
        desk: is told while a write waits.
        fail: told where nothing more can be written.
    """

    def __init__(self, desk: Desk, fail: Callable[[BaseException], None]) -> None:
        self._desk, self._fail = desk, fail
        self._later: list[Write] = []
        self._aside = Aside("sync")

    def keep(self, write: Write) -> None:
        """Write; where the disk takes nothing, later. A write may be called again after it did a part."""
        try:
            write()
        except (StorageFull, OSError) as error:
            self._later.append(write)
            self._wait_out(write, error)
        except PellucidError as error:
            self._fail(error)
        else:
            self._desk.go_on(write)

    def try_again(self) -> None:
        """Make the writes that wait."""
        waiting, self._later = self._later, []
        for write in waiting:
            self.keep(write)

    async def sync(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Bring what was written onto the disk; what can't be is tried again at the next call."""
        for checkpoint in checkpoints:
            try:
                await self._aside.ask(checkpoint.sync)
            except (OSError, ValueError, PellucidError) as error:
                logs.get_logger("engine").warning("embeddings can't be forced to disk", reason=type(error).__name__)

    def close(self) -> None:
        """Nothing is forced to disk from then on."""
        self._aside.close()

    def _wait_out(self, write: Write, error: StorageFull | OSError) -> None:
        coded = error if isinstance(error, StorageFull) else OutputGone(f"Writing embeddings failed: {error.strerror}.")
        try:
            self._desk.wait_out(write, coded)
        except PellucidError as final:
            self._fail(final)
