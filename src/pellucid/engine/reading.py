"""What the readers do next: which of the scans in hand, which step, which tiles."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path

import numpy as np

from pellucid.core.errors import PellucidError
from pellucid.engine.batches import Batches
from pellucid.engine.children import Ending
from pellucid.engine.ends import UnexpectedFailure
from pellucid.engine.flow import Flow, Stage
from pellucid.engine.hangs import Hangs
from pellucid.engine.jobs import ReaderJobs
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import (
    Identified,
    Identify,
    Illustrated,
    Prepared,
    ReadTiles,
    Refused,
    TilesRead,
)
from pellucid.engine.pace import Pace
from pellucid.engine.scans import Scans, error_of_refusal

_OWN_BLOCKS = 8
"""Blocks that a scan has left for each of its readers before another reader helps it: opening a slide costs as much."""

Among = Callable[[Hashable], bool]
Step = Callable[[Member, Among], Assignment | None]
Read = Identified | Prepared | TilesRead | Illustrated | Refused

_RESTS_S = (0.3, 3.0)
"""How long a job rests after it ended its first process, and its second: kills from outside come in bursts, and a job
that is tried again at once is what a new process is doing when the next one falls."""


class Reading:
    """Hands out the readers' jobs.

    A scan's end goes before the middle of others, so that scans leave; the next scan is looked at while there is
    still enough to read of those before it, so that tiles never run out.

    Args:
        jobs: makes their jobs.
        batches: where tiles go.
        scans: the scans in hand.
        pace: says when the next scan must be looked at.
        readers: gives the reader processes.
        kills: a scan whose job ends its process so often is quarantined.
        identified: told of a file's identity, or why it has none.
    """

    def __init__(
        self,
        jobs: ReaderJobs,
        batches: Batches,
        scans: Scans,
        pace: Pace,
        *,
        readers: Callable[[], Iterable[Member]],
        kills: int,
        identified: Callable[[Path, Identified | PellucidError], None],
    ) -> None:
        self._batches, self._scans, self._pace, self._readers = batches, scans, pace, readers
        self._jobs, self._kills, self._named = jobs, kills, identified
        self._again: deque[Assignment] = deque()
        self._resting: list[tuple[float, Assignment]] = []
        self._files: deque[Path] = deque()
        self._hangs = Hangs()
        self.hungry = False
        """Whether no scan waits to be claimed, so that files must be hashed before tiles run out."""

    def identify(self, path: Path) -> None:
        """Have a file hashed."""
        self._files.append(path)

    def forget_files(self) -> None:
        """Files that no reader hashes yet are left for another run."""
        self._files.clear()

    @property
    def n_to_identify(self) -> int:
        """Files that no reader hashes yet."""
        return len(self._files)

    @property
    def hangs(self) -> bool:
        """Whether a job hung in the system, and no reader has got anything from storage since."""
        return bool(self._hangs)

    def next(self, member: Member) -> Assignment | None:
        """What a reader with room does next; what is done again is alone in it."""
        self._wake_rested()
        if self._again:
            return None if member.hand else self._again.popleft()
        if any(not isinstance(one.job, ReadTiles) for one in member.hand):
            return None  # behind a long job nothing is put that another could do
        assignment = self._new(member, lambda who: not (self._hangs.holds(who) or self._rests(who)))
        if assignment is None and self._hangs and not member.hand:
            return self._new(member, self._hangs.holds)
        return assignment

    def _new(self, member: Member, among: Among) -> Assignment | None:
        steps: list[Step] = [self._illustrate]
        if self._may_leave_tiles(member):
            if self._pace.runs_out(unhashed=False):
                steps.append(self._prepare)
            if self.hungry and self._pace.runs_out(unhashed=True):
                steps.append(self._identify)
        elif self._is_urgent():
            steps.append(self._prepare)
        steps += [self._tiles, self._prepare, self._identify]
        return next((one for step in steps if (one := step(member, among)) is not None), None)

    def answered(self, member: Member, assignment: Assignment, answer: Read) -> None:
        """A reader did its job, or refused it."""
        self._hangs.served()
        job = assignment.job
        if isinstance(job, ReadTiles):
            self._landed(job, answer if isinstance(answer, TilesRead) else None)
        if isinstance(job, Identify):
            self._hangs.forget(job.path)
            self._pace.identified(assignment.took_s)
            self._named(job.path, answer if isinstance(answer, Identified) else _error(answer))
            return
        flow: Flow = assignment.about
        if flow.stage is Stage.ENDED:
            return
        start, took_s = assignment.begun_at, assignment.took_s
        if isinstance(answer, Refused):
            self._scans.fail(flow, error_of_refusal(answer))
        elif isinstance(answer, TilesRead):
            flow.reading -= 1
            flow.spend("read", answer.seconds)
            flow.trace.merge("read", member.name, start=start, duration=answer.seconds, count=len(answer.readable))
        elif isinstance(answer, Prepared):
            self._pace.prepared(took_s)
            flow.readers = {member.number}
            flow.trace.add("prepare", member.name, start=start, duration=took_s, **answer.seconds)
            self._scans.prepared(flow, answer)
        elif isinstance(answer, Illustrated):
            flow.pictures |= answer.pictures
            flow.spend("artefacts", answer.seconds)
            flow.trace.add("pictures", member.name, start=start, duration=took_s)
            self._hangs.forget(flow)
            self._scans.commit(flow)

    def bereaved(self, member: Member, hand: list[Assignment], ending: Ending) -> None:
        """A reader ended with jobs in hand; only the first, which it was doing, can have ended it."""
        for flow in {one.about for one in hand if isinstance(one.about, Flow)}:
            flow.readers.discard(member.number)
        unkillable = ending.returncode is None
        if unkillable or member.hangs:
            self._hung(hand, ending)
            return
        first, *others = hand
        for assignment in reversed(others):
            self._once_more(assignment)
        first.kills += not ending.expected
        if first.kills == 0:
            self._once_more(first)
        elif first.kills < self._kills:
            rest_s = _RESTS_S[min(first.kills, len(_RESTS_S)) - 1]
            self._resting.append((time.monotonic() + rest_s, first))
        else:
            self._void(first)
            self._blame(first.about, first.kills, ending.cause)

    def _hung(self, hand: list[Assignment], ending: Ending) -> None:
        """A reader hung in the system: its tiles leave their places to others, and it may be nobody's fault.

        One that can't even be ended may still write to its places, which rest until it is gone.
        """
        haunt = ending.pid if ending.returncode is None else None
        for assignment in reversed(hand):
            job, about = assignment.job, assignment.about
            if isinstance(job, Identify):
                self._files.append(job.path)
                continue
            about.asked = False
            if isinstance(job, ReadTiles):
                about.take_back(self._batches.abandon(job.targets, haunt))
        blamed = self._hangs.hung(hand[0].about)
        if blamed >= self._kills:
            self._blame(hand[0].about, blamed, ending.cause)

    def _blame(self, about: Flow | Path, kills: int, cause: str) -> None:
        self._hangs.forget(about)
        if isinstance(about, Flow):
            self._scans.quarantine(about, kills)
            return
        with contextlib.suppress(ValueError):
            self._files.remove(about)
        self._named(about, UnexpectedFailure(f"Hashing the file ended its process {kills} times: {cause}."))

    def drop(self, flow: Flow) -> None:
        """Forget what waits of a scan that ended."""
        for assignment in [one for one in self._again if one.about is flow]:
            self._again.remove(assignment)
            self._void(assignment)
        for resting in [one for one in self._resting if one[1].about is flow]:
            self._resting.remove(resting)
            self._void(resting[1])
        flow.forget_tiles()
        self._hangs.forget(flow)

    def _rests(self, who: object) -> bool:
        """Whether a scan is under suspicion: it gets no other reader before its job was tried again."""
        return any(one.about is who for _, one in self._resting)

    def _wake_rested(self) -> None:
        now = time.monotonic()
        for resting in [one for one in self._resting if one[0] <= now]:
            self._resting.remove(resting)
            self._once_more(resting[1])

    def _once_more(self, assignment: Assignment) -> None:
        flow = assignment.about
        if isinstance(flow, Flow) and flow.stage is Stage.ENDED:
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

    def _may_leave_tiles(self, member: Member) -> bool:
        """Whether a reader may do something long although tiles wait: another reads them meanwhile."""
        if not any(flow.blocks for flow in self._scans):
            return True
        others = [one for one in self._readers() if one.ready and one is not member]
        return any(all(isinstance(job.job, ReadTiles) for job in one.hand) for one in others)

    def _is_urgent(self) -> bool:
        """Whether a scan to be looked at is more urgent than those whose tiles wait."""
        first = self._first(Stage.PREPARE, lambda _who: True)
        return first is not None and all(
            first.work.priority > flow.work.priority for flow in self._scans if flow.blocks
        )

    def _identify(self, member: Member, among: Among) -> Assignment | None:
        path = next((path for path in self._files if among(path)), None)
        if path is None or member.hand:
            return None
        self._files.remove(path)
        return self._jobs.identify(path)

    def _prepare(self, _member: Member, among: Among) -> Assignment | None:
        flow = self._first(Stage.PREPARE, among)
        if flow is None:
            return None
        flow.asked = True
        return self._jobs.prepare(flow)

    def _illustrate(self, _member: Member, among: Among) -> Assignment | None:
        flow = self._first(Stage.PICTURES, among)
        if flow is None:
            return None
        flow.asked = True
        return self._jobs.illustrate(flow)

    def _tiles(self, member: Member, among: Among) -> Assignment | None:
        flow = self._choose(member, among)
        if flow is None:
            return None
        block = flow.blocks[0][: self._batches.most]
        targets = self._batches.reserve(flow.number, block)
        if targets is None:
            return None
        flow.hand_out(block)
        flow.readers.add(member.number)
        return self._jobs.read(flow, block, targets)

    def _choose(self, member: Member, among: Among) -> Flow | None:
        """The scan whose tiles a reader reads: its own as long as there are any, else one that wants help."""
        waiting = [flow for flow in self._scans if flow.blocks and among(flow)]
        if not waiting:
            return None
        waiting.sort(key=lambda flow: (-flow.work.priority, flow.since))
        if waiting[0].work.priority > waiting[-1].work.priority:
            return waiting[0]
        own = [flow for flow in waiting if member.number in flow.readers]
        wanting = [flow for flow in waiting if len(flow.blocks) >= _OWN_BLOCKS * len(flow.readers)]
        return (own or wanting or waiting)[0]

    def _first(self, stage: Stage, among: Among) -> Flow | None:
        waiting = [flow for flow in self._scans if flow.stage is stage and not flow.asked and among(flow)]
        return max(waiting, key=lambda flow: (flow.work.priority, -flow.since), default=None)


def _error(answer: Read) -> PellucidError:
    if isinstance(answer, Refused):
        return error_of_refusal(answer)
    return UnexpectedFailure(f"{type(answer).__name__} is no answer to what was asked.")
