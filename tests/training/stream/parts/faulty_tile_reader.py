"""A reader that does to its process what a file beside the slide says: `<slide>.kill`, `.segv` or `.hang`.

With `<slide>.once` too, it does so once.
"""

import os
import signal
import time

from pellucid.engine.child import run
from pellucid.engine.messages import ReadTiles
from pellucid.engine.reader import Reader


class FaultyReader(Reader):
    def do(self, job, *, step, waited_s):
        path = job.file.path if isinstance(job, ReadTiles) else job.path
        for fault in ("kill", "segv", "hang"):
            mark, once = path.with_suffix(f".{fault}"), path.with_suffix(".once")
            if mark.exists():
                if once.exists():
                    mark.unlink()
                    once.unlink()
                if fault == "hang":
                    time.sleep(600)
                os.kill(os.getpid(), signal.SIGSEGV if fault == "segv" else signal.SIGKILL)
                time.sleep(60)
        return super().do(job, step=step, waited_s=waited_s)


if __name__ == "__main__":
    run(FaultyReader)
