"""A ledger in memory: what an engine is given to do, and what became of it."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core.errors import PellucidError
from pellucid.engine.checkpoint import read_checkpoint
from pellucid.engine.config import EngineConfig, Models
from pellucid.engine.engine import Engine
from pellucid.engine.ledger import Account, Answer, Work
from pellucid.engine.messages import Factory, ScanFile


def work_of(path: Path, **changes: Any) -> Work:
    key = hashlib.sha256(str(path).encode()).hexdigest()
    file = ScanFile(path=path, mpp=None, mpp_detail="override", fingerprint=None)
    return Work(key=key, name=path.name, scan=key, file=file, **changes)


@dataclass
class MemoryLedger:
    """Hands out `todo` in order; `on_end` may act whenever a scan ends."""

    todo: list[Work]
    answers: dict[str, Answer] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    errors: dict[str, PellucidError] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    identities: dict[Path, Any] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    most: int = 0
    in_hand: int = 0
    trouble: Any = None
    on_end: Any = None

    def to_identify(self) -> Path | None:
        return self.files.pop(0) if self.files else None

    def identified(self, path: Path, identity: Any, fingerprint: str) -> None:
        self.identities[path] = (identity, fingerprint)

    def unidentified(self, path: Path, error: PellucidError) -> None:
        self.identities[path] = error

    def claim(self) -> Work | None:
        if not self.todo:
            return None
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        return self.todo.pop(0)

    def keep(self, works: Any, progressed: Any) -> set[str]:
        return {work.key for work in works if work.name in self.lost}

    def release(self, work: Work) -> None:
        self.released.append(work.name)

    def answered(self, work: Work, answer: Answer) -> None:
        if self.trouble is not None:
            self.trouble(work)
        features, _ = read_checkpoint(answer.embeddings)
        assert work.name not in self.answers, "a scan ended twice"
        self.answers[work.name], self.features[work.name] = answer, features
        self._end(work)

    def unanswered(self, work: Work, error: PellucidError, account: Account) -> None:
        assert work.name not in self.errors, "a scan ended twice"
        self.errors[work.name], self.accounts[work.name] = error, account
        self._end(work)

    def quarantined(self, work: Work, cause: str, account: Account) -> None:
        self.quarantine[work.name], self.accounts[work.name] = cause, account
        self._end(work)

    def _end(self, work: Work) -> None:
        self.in_hand -= 1
        self.order.append(work.name)
        if self.on_end is not None:
            self.on_end(work)

    def tick(self) -> None:
        pass

    @property
    def finished(self) -> bool:
        return not self.todo and not self.files


@dataclass
class Stop:
    asked: bool = False
    now: bool = False


@dataclass
class Watched:
    """Events of an engine, with something to do at each beat."""

    started_: list[str] = field(default_factory=list)
    n_tiles: int = 0
    pauses: list[str | None] = field(default_factory=list)
    on_beat: Any = None
    on_tiles: Any = None

    def started(self, scan: str) -> None:
        self.started_.append(scan)

    def tiles(self, number: int) -> None:
        self.n_tiles += number
        if self.on_tiles is not None:
            self.on_tiles(self.n_tiles)

    def paused(self, because: PellucidError | None) -> None:
        self.pauses.append(None if because is None else because.code)

    def beat(self, engine: Engine) -> None:
        if self.on_beat is not None:
            self.on_beat(engine)


def sums(*, passes: bool = True, sampler: dict[str, Any] | None = None, **encoder: Any) -> Models:
    """Models without torch: see `parts/sums.py`."""
    from sums import SPEC  # type: ignore[import-not-found]

    return Models(
        spec=SPEC,
        devices=(Factory(path="sums:encoder", arguments=encoder),),
        sampler=Factory(path="sums:sampler", arguments=sampler or {}) if passes else None,
    )


def run(ledger: MemoryLedger, folder: Path, models: Models, **options: Any) -> Engine:
    """Run an engine to its end; it is returned for a look at its counters."""
    events, stop = options.pop("events", Watched()), options.pop("stop", Stop())
    defaults = {"readers": 2, "max_readers": 2, "n_slots": 4, "stall_s": 5.0}
    config = EngineConfig(checkpoints=folder / "checkpoints", **(defaults | options))
    engine = Engine(models, config, ledger, events=events, stop=stop)
    engine.run()
    return engine
