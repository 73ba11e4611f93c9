"""The thread that looks after a training while its own thread is busy, or hangs."""

import threading
import traceback
from collections.abc import Callable

from pellucid.core.telemetry.logs import get_logger


class Watch:
    """Calls `look` every `every_s` seconds until it is stopped; a daemon, for it must not keep a dead process alive."""

    def __init__(self, look: Callable[[], None], *, every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pellucid-training-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the look that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        told = False
        while not self._stop.wait(self._every_s):
            try:
                self._look()
            except Exception:  # noqa: BLE001 - the thread's boundary: a defect here must not blind the watch for good
                if not told:
                    get_logger("training").error("the training's watch failed", traceback=traceback.format_exc())
                told = True
