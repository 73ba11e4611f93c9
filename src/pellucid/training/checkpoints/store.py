"""The checkpoints of one task: saved by all ranks together, and loaded together, whole or not at all."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.training.checkpoints.choosing import Choice, choose
from pellucid.training.checkpoints.commit import Trace, prune, set_aside, sweep
from pellucid.training.checkpoints.errors import CheckpointFailed, CheckpointUnreadable
from pellucid.training.checkpoints.loading import read_back, take_over
from pellucid.training.checkpoints.lock import RunLock
from pellucid.training.checkpoints.manifest import RunIdentity
from pellucid.training.checkpoints.outcome import Loaded, Saved
from pellucid.training.checkpoints.retention import Retention
from pellucid.training.checkpoints.saving import Facts, Phases, Shelf, write_checkpoint
from pellucid.training.checkpoints.structure import dissect
from pellucid.training.checkpoints.together import on_first
from pellucid.training.ranks import Ranks
from pellucid.training.task import Stateful


def _untraced(_phase: str) -> None:
    return


class Checkpoints:
    """The checkpoints of one task in a folder of their own. Every public method is collective over the ranks.

    Args:
        folder: where they are; made with the first one. All ranks must see it.
        identity: what the state depends on besides its steps.
        retention: which of them stay.
        ranks: who trains together.
        lock: the run's, on the first rank; None on the others. Without one on the first rank two trainings at a time
            would mix their checkpoints.
        trace: told of each phase as it begins: `save`, `hash`, `prune`, `load` and `read` on every rank, `manifest`,
            `rename`, `replace` and `renamed` on the first.

    Attributes:
        n_failed: how many saves failed.
        n_failed_in_a_row: how many since the last that didn't.
    """

    def __init__(
        self,
        folder: Path,
        *,
        identity: RunIdentity,
        retention: Retention,
        ranks: Ranks,
        lock: RunLock | None = None,
        trace: Trace = _untraced,
    ) -> None:
        self.n_failed = 0
        self.n_failed_in_a_row = 0
        self._shelf = Shelf(folder=folder, identity=identity, ranks=ranks, lock=lock, trace=trace)
        self._retention = retention
        self._swept = False

    def save(
        self,
        parts: Mapping[str, Stateful],
        *,
        step: int,
        reason: str,
        score: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Saved:
        """Write and commit the state after `step` steps, then remove what needn't stay. The training stands still.

        A disk that is full or fails, on any rank, is no exception: `Saved.error` tells, and what was there before is
        still there.

        Args:
            parts: all state there is, by name; the same names on every rank.
            step: how many steps were made.
            reason: why it is saved, for the manifest.
            score: what the best is chosen by; higher is better. NaN counts as none.
            extra: plain JSON to find again with `load`; the same on every rank.

        Raises:
            RunLockLost: another process took over the run folder; nothing was committed.
            TypeError: a state or `extra` holds what can't be brought back exactly.
        """
        began = time.perf_counter()
        ranks, phases = self._shelf.ranks, Phases(self._shelf.trace)
        trees, tensors = dissect({name: part.state_dict() for name, part in parts.items()})
        facts = Facts(step=step, reason=reason, score=score, extra=json.loads(json.dumps(dict(extra or {}))))
        try:
            on_first(ranks, self._sweep)
            folder, n_bytes = write_checkpoint(self._shelf, trees, tensors, facts, phases)
        except CheckpointFailed as error:
            phases.end()
            self._count(failed=True)
            seconds = ranks.from_first(time.perf_counter() - began)
            return Saved(step=step, seconds=seconds, error=str(error), phases=phases.seconds)
        self._count(failed=False)
        phases.begin("prune")
        unpruned = self._prune()
        phases.end()
        return Saved(
            step=step,
            seconds=ranks.from_first(time.perf_counter() - began),
            n_bytes=n_bytes,
            folder=folder,
            unpruned=unpruned,
            phases=phases.seconds,
        )

    def rehearse(self, parts: Mapping[str, Stateful], *, step: int = 0) -> Saved:
        """Save, read back from the disk and compare every bit, at a start: storage that loses data is known then.

        The seconds are those of the save alone. Where something else came back, that is an error like any other, and
        the checkpoint is kept aside.

        Raises:
            RunLockLost: another process took over the run folder.
        """
        saved = self.save(parts, step=step, reason="rehearsal")
        folder, ranks = saved.folder, self._shelf.ranks
        if folder is None:
            return saved
        try:
            problem = read_back(folder, parts, ranks)
            if problem is None:
                return saved
            on_first(ranks, lambda: str(set_aside(folder, step, self._shelf.token)))
        except CheckpointFailed as error:
            problem = error.message
        self._count(failed=True)
        failure = CheckpointFailed(f"What came back of step {step} is not what was written: {problem}.")
        return Saved(step=step, seconds=saved.seconds, error=str(failure), phases=saved.phases)

    def load(self, parts: Mapping[str, Stateful], *, force: bool = False, best: bool = False) -> Loaded | None:
        """Load the newest checkpoint that is whole; None where there never was any.

        The first rank verifies before anything is unpickled. Checkpoints that are not whole are named, and kept aside
        under another name so that their steps can be saved again; where none is whole, all stay as they are.

        Args:
            parts: what is loaded into, by the names under which it was saved; it may be sharded otherwise than it was.
            force: load it although config, software or cohort differ.
            best: the one of the highest score instead of the newest.

        Raises:
            CheckpointsInvalid: there are checkpoints, and none is whole.
            CheckpointForeign: it is of another config, software or cohort.
            CheckpointUnfit: it is of another model or optimiser.
            CheckpointUnreadable: some rank couldn't read it.
        """
        ranks, trace = self._shelf.ranks, self._shelf.trace
        trace("load")
        try:
            choice = on_first(ranks, lambda: self._choose(force=force, best=best))
        except CheckpointFailed as error:
            raise CheckpointUnreadable(f"{self._shelf.folder} can't be read: {error.message}") from error
        if choice is None:
            return None
        trace("read")
        take_over(choice.folder, parts, ranks)
        manifest = choice.manifest
        return Loaded(
            step=manifest.step,
            folder=choice.folder,
            rejected=tuple((verdict.folder.name, str(verdict.problem)) for verdict in choice.rejected),
            forced=choice.forced,
            extra=manifest.extra,
            score=manifest.score,
            created=manifest.created,
        )

    def _choose(self, *, force: bool, best: bool) -> Choice | None:
        self._sweep()
        choice = choose(self._shelf.folder, self._shelf.identity, force=force, best=best)
        for verdict in () if choice is None else choice.rejected:
            set_aside(verdict.folder, verdict.step, self._shelf.token)
        return choice

    def _sweep(self) -> None:
        if not self._swept:
            self._shelf.confirm()
            sweep(self._shelf.folder)
            self._swept = True

    def _prune(self) -> str | None:
        try:
            on_first(self._shelf.ranks, lambda: prune(self._shelf.folder, self._retention))
        except CheckpointFailed as error:
            return error.message
        return None

    def _count(self, *, failed: bool) -> None:
        self.n_failed += failed
        self.n_failed_in_a_row = self.n_failed_in_a_row + 1 if failed else 0
