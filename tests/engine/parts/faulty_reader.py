"""A reader that does to its process what the scan's name says: `<what>.svs`, `<what>-once.svs`, ..."""

import os
import signal
import time
from pathlib import Path

from pellucid.engine.child import run
from pellucid.engine.messages import Prepare, ReadTiles
from pellucid.engine.reader import Reader


class FaultyReader(Reader):
    def do(self, job, *, step, waited_s):
        path = getattr(job, "file", job).path
        what, _, when = path.stem.partition("-")
        kinds = {"segv": ReadTiles, "kill": ReadTiles, "hang": ReadTiles, "early": Prepare}
        if what in kinds and isinstance(job, kinds[what]) and self._now(path, when):
            if what == "hang":
                time.sleep(600)
            os.kill(os.getpid(), signal.SIGSEGV if what == "segv" else signal.SIGKILL)
            time.sleep(60)
        if what == "slow":
            time.sleep(0.2)
        return super().do(job, step=step, waited_s=waited_s)

    @staticmethod
    def _now(path: Path, when: str) -> bool:
        if not when.startswith("once"):
            return True
        mark = path.with_suffix(".happened")
        before = mark.exists()
        mark.touch()
        return not before


if __name__ == "__main__":
    run(FaultyReader)
