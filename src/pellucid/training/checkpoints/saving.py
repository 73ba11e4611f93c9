"""Writing one checkpoint, from the ranks' states to a committed folder."""

import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from pellucid.core.clock import utc_now
from pellucid.core.digests import digest_bytes
from pellucid.core.errors import PellucidError
from pellucid.training.checkpoints.commit import Trace, begin, publish, remove
from pellucid.training.checkpoints.errors import CheckpointFailed
from pellucid.training.checkpoints.hashing import digest_files
from pellucid.training.checkpoints.lock import RunLock
from pellucid.training.checkpoints.manifest import Manifest, RunIdentity, read_manifest
from pellucid.training.checkpoints.naming import tmp_path
from pellucid.training.checkpoints.reading import list_checkpoints
from pellucid.training.checkpoints.shards import own_shards, state_bytes, write_shards
from pellucid.training.checkpoints.together import agreed, on_first
from pellucid.training.ranks import Ranks

STRUCTURE: Final = "structure.json"
_TIMES: Final = 2
_SLACK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where a task's checkpoints lie, and who writes them: what saving and loading have in common."""

    folder: Path
    identity: RunIdentity
    ranks: Ranks
    lock: RunLock | None
    trace: Trace

    @property
    def token(self) -> int:
        """The lock's token; 0 without a lock, and on all ranks but the first."""
        return 0 if self.lock is None else self.lock.token

    def confirm(self) -> None:
        """Make sure that this is still the run's writer; raises RunLockLost where it isn't."""
        if self.lock is not None:
            self.lock.confirm()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a manifest tells of a checkpoint besides its files."""

    step: int
    reason: str
    score: float | None
    extra: dict[str, Any]


@dataclass(slots=True)
class Phases:
    """Seconds of each phase of a save, told to the trace as they begin."""

    trace: Trace
    seconds: dict[str, float] = field(default_factory=dict)
    _last: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """The next phase begins."""
        self.end()
        self._last = name, time.perf_counter()
        self.trace(name)

    def end(self) -> None:
        """The last phase is over."""
        if self._last is not None:
            name, since = self._last
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - since
        self._last = None


def write_checkpoint(
    shelf: Shelf, trees: Mapping[str, Any], tensors: Mapping[str, Tensor], facts: Facts, phases: Phases
) -> tuple[Path, int]:
    """Write and commit a checkpoint. Collective.

    Returns:
        Its folder and its bytes, on every rank.

    Raises:
        CheckpointFailed: the disk is full or failed on some rank; nothing was committed.
        RunLockLost: another process took over the run.
    """
    ranks, structure = shelf.ranks, json.dumps(trees).encode()
    try:
        phases.begin("save")
        if len(set(ranks.gather(digest_bytes(structure)))) > 1:
            raise CheckpointFailed("The ranks' states differ in their names, shapes or numbers.")
        tmp, number = on_first(ranks, lambda: _prepare(shelf, facts.step, state_bytes(tensors) + len(structure)))
        agreed(ranks, lambda: write_shards(tmp, tensors, ranks))
        phases.begin("hash")
        files: dict[str, tuple[str, int]] = {}
        for found in ranks.gather(agreed(ranks, lambda: _hashed(tmp, ranks, structure))):
            files |= found
        manifest = Manifest(
            step=facts.step,
            number=number,
            world=ranks.world,
            reason=facts.reason,
            score=None if facts.score is None or math.isnan(facts.score) else facts.score,
            token=shelf.token,
            identity=shelf.identity,
            extra=facts.extra,
            files=files,
            created=utc_now(),
        )
        folder = on_first(ranks, lambda: publish(tmp, manifest, confirm=shelf.confirm, trace=phases.begin))
    except PellucidError as failure:
        _discard(shelf, facts.step)
        if isinstance(failure, CheckpointFailed):
            # whoever took over cleared away what was being written: that looks like a failing disk
            on_first(ranks, shelf.confirm)
        raise
    return folder, manifest.n_bytes


def _prepare(shelf: Shelf, step: int, n_bytes: int) -> tuple[Path, int]:
    """A folder to write into, and the checkpoint's number."""
    shelf.confirm()
    shelf.folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(shelf.folder).free, _TIMES * n_bytes + _SLACK
    if free < needed:
        raise CheckpointFailed(
            f"{shelf.folder} has {free / 1e9:.3f} GB free; it needs {needed / 1e9:.3f} GB, twice a checkpoint's size."
        )
    number = 1 + max((_number(path) for _, path in list_checkpoints(shelf.folder)), default=0)
    return begin(shelf.folder, step, shelf.token), number


def _number(folder: Path) -> int:
    try:
        return read_manifest(folder).number
    except PellucidError:
        return 0


def _hashed(tmp: Path, ranks: Ranks, structure: bytes) -> dict[str, tuple[str, int]]:
    names = own_shards(tmp, ranks.rank)
    if ranks.is_first:
        with (tmp / STRUCTURE).open("xb") as file:
            file.write(structure)
            file.flush()
            os.fsync(file.fileno())
        names.append(STRUCTURE)
    return digest_files(tmp, names)


def _discard(shelf: Shelf, step: int) -> None:
    tmp = tmp_path(shelf.folder, step, shelf.token)
    if not (shelf.ranks.is_first and tmp.exists()):
        return
    try:
        remove(tmp)
    except OSError:
        # the next start clears it away
        shutil.rmtree(tmp, ignore_errors=True)
