"""The engine's reader process, which also writes down how much CPU each kind of job took."""

import json
import os
import time
from collections import defaultdict
from pathlib import Path

from pellucid.engine.child import run
from pellucid.engine.messages import ReadTiles
from pellucid.engine.reader import Reader

FOLDER = "BENCHMARK_FOLDER"
_OFTEN = 20


class Accountant(Reader):
    def __init__(self, setup, buffers):
        super().__init__(setup, buffers)
        self._file = Path(os.environ[FOLDER]) / f"reader-{os.getpid()}.json"
        self._kinds = defaultdict(lambda: {"jobs": 0, "cpu_s": 0.0, "wall_s": 0.0, "tiles": 0, "waited_s": 0.0})
        self._born = time.process_time()
        self._jobs = 0

    def do(self, job, *, step, waited_s):
        cpu, wall = time.process_time(), time.perf_counter()
        answer = super().do(job, step=step, waited_s=waited_s)
        kind = self._kinds[type(job).__name__]
        kind["jobs"] += 1
        kind["cpu_s"] += time.process_time() - cpu
        kind["wall_s"] += time.perf_counter() - wall
        kind["waited_s"] += waited_s
        kind["tiles"] += len(job.coords) if isinstance(job, ReadTiles) else 0
        self._jobs += 1
        if self._jobs % _OFTEN == 0 or not isinstance(job, ReadTiles):
            self._file.write_text(json.dumps(self._kinds | {"all": {"cpu_s": time.process_time() - self._born}}))
        return answer


if __name__ == "__main__":
    run(Accountant)
