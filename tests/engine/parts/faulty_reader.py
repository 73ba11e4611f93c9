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
        if what == "late" and isinstance(job, ReadTiles) and self._now(path, when):
            self._scribble(job)
        if what == "frozen" and isinstance(job, ReadTiles) and (path.parent / "frost").exists():
            _wait_in_system(path.with_suffix(".fifo"))
        return super().do(job, step=step, waited_s=waited_s)

    def _scribble(self, job):
        """Write to the job's places long after the supervisor gave this process up, and end."""
        time.sleep(4)
        for target in job.targets:
            self._buffers.tiles(target.slot)[target.first : target.first + target.count] = 255
        os._exit(0)

    @staticmethod
    def _now(path: Path, when: str) -> bool:
        if not when.startswith("once"):
            return True
        mark = path.with_suffix(".happened")
        before = mark.exists()
        mark.touch()
        return not before


def _wait_in_system(fifo):
    """Sleep uninterruptibly, as over a share that hangs: a parent does until its child has opened its files."""
    if not fifo.exists():
        os.mkfifo(fifo)
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 100, fifo, os.O_RDONLY, 0)])


if __name__ == "__main__":
    run(FaultyReader)
