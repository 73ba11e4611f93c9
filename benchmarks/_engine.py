"""A real engine for benchmarks: a ledger in memory, and figures of what its processes did."""

# ruff: noqa: ARG002 - a ledger and a watcher are told more than they need here

import hashlib
import json
import os
import time
from collections import Counter
from pathlib import Path

from benchmarks import _reader
from pellucid.core.errors import PellucidError
from pellucid.engine.config import EngineConfig, Modules
from pellucid.engine.engine import Engine
from pellucid.engine.ledger import Work
from pellucid.engine.messages import Encoded, ScanFile


class Slides:
    """The ledger: hands out slides once the engine's processes are ready: their start is no part of the time."""

    def __init__(self, paths):
        self._todo = [_work(path) for path in paths]
        self._left = len(self._todo)
        self.open = False
        self.began = self.ended = 0.0
        self.logits, self.seconds, self.circumstances = {}, Counter(), {}
        self.on_last = lambda: None

    @property
    def finished(self):
        return not self._todo

    def claim(self):
        if not self.open or not self._todo:
            return None
        self.began = self.began or time.monotonic()
        return self._todo.pop(0)

    def answered(self, work, answer):
        self.logits[work.name] = None if answer.passes is None else answer.passes.logits.tolist()
        self.seconds.update(answer.seconds)
        self.circumstances[work.name] = answer.circumstances
        self.ended = time.monotonic()
        self._left -= 1
        if not self._left:
            self.on_last()

    def unanswered(self, work, error, account):
        raise error

    def quarantined(self, work, cause, account):
        raise PellucidError(cause)

    def to_identify(self):
        return None

    def identified(self, path, identity, fingerprint):
        raise AssertionError

    def unidentified(self, path, error):
        raise error

    def keep(self, works, progressed):
        return set()

    def release(self, work):
        pass

    def tick(self):
        pass


class Measured(Engine):
    """An engine that is its own watcher."""

    def __init__(self, models, config, ledger, **options):
        self.asked = self.now = False  # nobody stops it
        self.slides = ledger
        super().__init__(models, config, ledger, events=self, stop=self, **options)
        self.n_embedded, self.batches_s, self.ready_s = 0, [], 0.0
        self._first = time.monotonic()
        self.cpu_before, self.cpu = {}, {}
        ledger.on_last = self._take_stock

    def answered(self, member, assignment, answer):
        if isinstance(answer, Encoded):
            self.batches_s.append((time.monotonic(), answer.seconds, answer.waited_s, len(answer.finite)))
        super().answered(member, assignment, answer)

    def started(self, scan):
        pass

    def paused(self, because):
        if because is not None:
            raise because

    def tiles(self, number):
        self.n_embedded += number

    def beat(self, engine):
        if not self.slides.open and self.crew.members and all(member.ready for member in self.crew.members):
            self.ready_s = time.monotonic() - self._first
            self.cpu_before = self._cpu()
            self.slides.open = True

    def _cpu(self):
        """CPU seconds by process; the supervisor's are of this process."""
        found = {(m.role.value, m.child.pid): m.child.cpu_s for m in list(self.crew.members) if m.child is not None}
        return found | {("supervisor", os.getpid()): time.process_time()}

    def _take_stock(self):
        self.cpu = Counter()
        for (role, pid), seconds in self._cpu().items():
            self.cpu[role] += seconds - self.cpu_before.get((role, pid), 0.0)


def run_engine(paths, models, folder, **config):
    """Have slides answered by an engine.

    Returns:
        `ready_s` until all processes are set up; `wall_s` from then to the last answer; `cpu` seconds by role in that
        time; `readers` CPU and waiting by kind of job; `busy_s` of the device and `device` from its first batch's
        beginning to its last one's end; `waited_s` between them.
    """
    os.environ[_reader.FOLDER] = str(folder)
    _ = models.spec.digest  # imports pydantic, which a run does once and a tile needn't pay for
    ledger = Slides(paths)
    engine = Measured(
        models,
        EngineConfig(checkpoints=folder / "checkpoints", modules=Modules(reader="benchmarks._reader"), **config),
        ledger,
    )
    engine.run()
    batches = engine.batches_s
    return {
        "tiles": engine.n_embedded,
        "ready_s": engine.ready_s,
        "wall_s": ledger.ended - ledger.began,
        "cpu": dict(engine.cpu),
        "readers": _readers(folder),
        "busy_s": sum(seconds for _, seconds, _, _ in batches),
        "device_s": batches[-1][0] - batches[0][0] + batches[0][1],
        "waited_s": sum(waited for _, _, waited, _ in batches[1:]),
        "batches": len(batches),
        "short_batches": sum(rows < models.spec.batch_size for *_, rows in batches),
        "waited_for": {reason.value: round(seconds, 2) for reason, seconds in engine.rates.waited.items() if seconds},
        "seconds": dict(ledger.seconds),
        "circumstances": ledger.circumstances,
        "logits": ledger.logits,
        "restarts": {" ".join(key): count for key, count in engine.crew.restarts.items()},
    }


def _readers(folder):
    total = {}
    for file in sorted(folder.glob("reader-*.json")):
        for kind, figures in json.loads(file.read_text()).items():
            total[kind] = dict(Counter(total.get(kind, {})) + Counter(figures))
    return total


def _work(path):
    key = hashlib.sha256(str(path).encode()).hexdigest()
    file = ScanFile(path=Path(path), mpp=None, mpp_detail="override", fingerprint=None)
    return Work(key=key, name=Path(path).name, scan=key, file=file)
