"""What the readers do next: which of the scans in hand, which step, which tiles."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pellucid.core.errors import PellucidError
from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.batches import Batches
from pellucid.engine.crew import Assignment, Member
from pellucid.engine.ends import UnexpectedFailure, error_of
from pellucid.engine.flow import Flow, Stage
from pellucid.engine.messages import (
    Geometry,
    Identified,
    Identify,
    Illustrate,
    Illustrated,
    Prepare,
    Prepared,
    ReadTiles,
    Refused,
    TilesRead,
)

N_TOP_TILES = 6
_OWN_BLOCKS = 8
"""Blocks that a scan has left for each of its readers before another reader helps it: opening a slide costs as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderAnswers:
    """What is told of the readers' answers."""

    identified: Callable[[Path, Identified], None]
    unidentified: Callable[[Path, PellucidError], None]
    prepared: Callable[[Flow, Prepared], None]
    illustrated: Callable[[Flow], None]
    fail: Callable[[Flow, Exception], None]
    quarantine: Callable[[Flow, int], None]


class Reading:
    """Hands out the readers' jobs.

    A scan's end goes before the middle of others, so that scans leave; the next scan is looked at while there is
    still enough to read of those before it, so that tiles never run out.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        batches: Batches,
        flows: dict[str, Flow],
        *,
        next_job: Callable[[], int],
        answers: ReaderAnswers,
        kills: int,
    ) -> None:
        self._geometry = Geometry(
            tile_px=spec.tile_px, mpp=spec.mpp, tolerance=spec.mpp_tolerance, decoding=spec.decoding
        )
        self._batches, self._flows, self._next_job, self._tell = batches, flows, next_job, answers
        self._kills = kills
        self._again: deque[Assignment] = deque()
        self._files: deque[Path] = deque()
        self._enough = 2 * batches.batch
        self.hungry = False
        """Whether no scan waits to be claimed, so that files are hashed before tiles are read."""

    def identify(self, path: Path) -> None:
        """Have a file hashed."""
        self._files.append(path)

    @property
    def n_to_identify(self) -> int:
        """Files that no reader hashes yet."""
        return len(self._files)

    @property
    def backlog(self) -> int:
        """Tiles that no reader has yet, of the scans in hand."""
        return sum(len(block) for flow in self._flows.values() for block in flow.blocks)

    def next(self, member: Member) -> Assignment | None:
        """What a reader with room does next; behind a long job nothing is put that another could do."""
        if self._again:
            return self._again.popleft() if not member.hand else None
        if any(not isinstance(one.job, ReadTiles) for one in member.hand):
            return None
        urgent = self._identify if self.hungry else self._prepare if self.backlog < self._enough else None
        steps = [self._illustrate, urgent, lambda _m: self._tiles(member), self._prepare, self._identify]
        for step in steps:
            assignment = None if step is None else step(member)
            if assignment is not None:
                return assignment
        return None

    def answered(
        self, member: Member, assignment: Assignment, answer: Identified | Prepared | TilesRead | Illustrated | Refused
    ) -> None:
        """A reader did its job, or refused it."""
        job = assignment.job
        if isinstance(job, ReadTiles):
            self._landed(job, answer if isinstance(answer, TilesRead) else None)
        if isinstance(job, Identify):
            self._named(job.path, answer)
            return
        flow: Flow = assignment.about
        if flow.stage is Stage.ENDED:
            return
        if isinstance(answer, Refused):
            self._tell.fail(flow, error_of_refusal(answer))
        elif isinstance(answer, TilesRead):
            flow.reading -= 1
            flow.spend("read", answer.seconds)
        elif isinstance(answer, Prepared):
            flow.readers = {member.number}
            self._tell.prepared(flow, answer)
        elif isinstance(answer, Illustrated):
            flow.pictures |= answer.pictures
            flow.spend("artefacts", answer.seconds)
            self._tell.illustrated(flow)

    def bereaved(self, hand: list[Assignment], cause: str, *, blame: bool) -> None:
        """A reader ended with jobs in hand; only the first, which it was doing, can have ended it."""
        first, *others = hand
        for assignment in reversed(others):
            self._once_more(assignment)
        first.kills += blame
        if first.kills < self._kills:
            self._once_more(first)
        elif isinstance(first.job, Identify):
            message = f"Hashing the file ended its process {first.kills} times: {cause}."
            self._tell.unidentified(first.job.path, UnexpectedFailure(message))
        else:
            self._void(first)
            self._tell.quarantine(first.about, first.kills)

    def drop(self, flow: Flow) -> None:
        """Forget what waits of a scan that ended."""
        for assignment in [one for one in self._again if one.about is flow]:
            self._again.remove(assignment)
            self._void(assignment)
        flow.blocks.clear()

    def _once_more(self, assignment: Assignment) -> None:
        if isinstance(assignment.about, Flow) and assignment.about.stage is Stage.ENDED:
            self._void(assignment)
        else:
            self._again.appendleft(assignment)

    def _void(self, assignment: Assignment) -> None:
        """Places that a read had reserved count as read; nobody wants them."""
        if isinstance(assignment.job, ReadTiles):
            self._landed(assignment.job, None)

    def _landed(self, job: ReadTiles, answer: TilesRead | None) -> None:
        readable = np.zeros(len(job.coords), np.bool_) if answer is None else answer.readable
        self._batches.land(job.targets, readable)

    def _named(self, path: Path, answer: object) -> None:
        if isinstance(answer, Identified):
            self._tell.identified(path, answer)
        elif isinstance(answer, Refused):
            self._tell.unidentified(path, error_of_refusal(answer))

    def _identify(self, member: Member) -> Assignment | None:
        if not self._files or member.hand:
            return None
        path = self._files.popleft()
        return Assignment(job=Identify(job=self._next_job(), path=path), about=path)

    def _prepare(self, member: Member) -> Assignment | None:
        flow = self._first(Stage.PREPARE)
        if flow is None or member.hand:
            return None
        flow.asked = True
        return Assignment(job=Prepare(job=self._next_job(), file=flow.work.file, geometry=self._geometry), about=flow)

    def _illustrate(self, member: Member) -> Assignment | None:
        flow = self._first(Stage.PICTURES)
        if flow is None or flow.passes is None or member.hand:
            return None
        flow.asked = True
        readable = flow.readable
        order = np.argsort(-flow.passes.attention_mean, kind="stable")[:N_TOP_TILES]
        top = np.flatnonzero(readable)[order]
        job = Illustrate(
            job=self._next_job(),
            file=flow.work.file,
            geometry=self._geometry,
            grid=flow.grid,
            readable=readable,
            top=tuple(int(tile) for tile in top),
        )
        return Assignment(job=job, about=flow)

    def _tiles(self, member: Member) -> Assignment | None:
        flow = self._choose(member)
        if flow is None:
            return None
        block = flow.blocks[0]
        targets = self._batches.reserve(flow.work.key, block)
        if targets is None:
            return None
        flow.blocks.popleft()
        flow.reading += 1
        flow.readers.add(member.number)
        job = ReadTiles(
            job=self._next_job(),
            file=flow.work.file,
            geometry=self._geometry,
            level0_px=flow.grid.level0_px,
            coords=flow.grid.coords[block],
            targets=targets,
        )
        return Assignment(job=job, about=flow)

    def _choose(self, member: Member) -> Flow | None:
        """The scan whose tiles a reader reads: its own as long as there are any, else one that wants help."""
        waiting = [flow for flow in self._flows.values() if flow.blocks]
        if not waiting:
            return None
        waiting.sort(key=lambda flow: (-flow.work.priority, flow.since))
        if waiting[0].work.priority > waiting[-1].work.priority:
            return waiting[0]
        own = [flow for flow in waiting if member.number in flow.readers]
        wanting = [flow for flow in waiting if len(flow.blocks) >= _OWN_BLOCKS * len(flow.readers)]
        return (own or wanting or waiting)[0]

    def _first(self, stage: Stage) -> Flow | None:
        waiting = [flow for flow in self._flows.values() if flow.stage is stage and not flow.asked]
        return max(waiting, key=lambda flow: (flow.work.priority, -flow.since), default=None)


def error_of_refusal(answer: Refused) -> PellucidError:
    """The error that a process refused a job with; a traceback goes to the log."""
    if answer.trace:
        from pellucid.core.telemetry import logs

        logs.get_logger("engine").error("unexpected failure", trace=answer.trace)
    return error_of(answer.code, answer.message, answer.remedy)
