"""Gives each process its next job, and passes on what comes back."""

import time
from collections.abc import Callable

from pellucid.engine.batches import Batches
from pellucid.engine.children import Ending
from pellucid.engine.crew import Crew
from pellucid.engine.embedding import Embedding
from pellucid.engine.flow import Flow
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import (
    Answer,
    Encode,
    Encoded,
    Identified,
    Illustrated,
    Prepared,
    Refused,
    Role,
    Sampled,
    TilesRead,
)
from pellucid.engine.reading import Reading
from pellucid.engine.sampling import Sampling
from pellucid.engine.scans import Scans

_FLUSH_S = 0.5
"""How long tiles that have landed wait for others to fill their batch, while a device has nothing to do."""


class Dispatch:
    """Between the crew and those who know what there is to do.

    Args:
        crew: the processes.
        scans: the scans in hand.
        batches: the slots.
        reading: knows what readers do.
        embedding: knows what devices do.
        sampling: knows what the posterior process does.
    """

    def __init__(
        self, crew: Crew, scans: Scans, batches: Batches, reading: Reading, embedding: Embedding, sampling: Sampling
    ) -> None:
        self._crew, self._scans, self._batches = crew, scans, batches
        self._reading, self._embedding, self._sampling = reading, embedding, sampling
        self._landed_at: float | None = None

    def step(self) -> None:
        """Hand out all that can be handed out now."""
        self._deal(Role.DEVICE, self._embedding.next)
        self._deal(Role.POSTERIOR, self._sampling.next)
        self._deal(Role.READER, self._reading.next)
        if self._flush():
            self._deal(Role.DEVICE, self._embedding.next)

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:
        """A job is done, or refused."""
        if member.role is Role.DEVICE and isinstance(answer, Encoded | Refused):
            self._embedding.answered(member, assignment, answer)
        elif member.role is Role.POSTERIOR and isinstance(answer, Sampled | Refused):
            self._sampling.answered(member, assignment, answer)
        elif isinstance(answer, Identified | Prepared | TilesRead | Illustrated | Refused):
            self._reading.answered(member, assignment, answer)

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A process ended, or can't be ended, with jobs in hand; the first is the one it was doing."""
        for flow in self._flows_of(hand[0]):
            flow.lost_process(member.name, ending.cause)
        if member.role is Role.DEVICE:
            self._haunt(ending, hand)
            self._embedding.bereaved(hand, blame=not ending.expected)
        elif member.role is Role.POSTERIOR:
            self._sampling.bereaved(hand, blame=not ending.expected)
        else:
            self._reading.bereaved(member, hand, ending)

    def _haunt(self, ending: Ending, hand: list[Assignment]) -> None:
        if ending.returncode is None:
            for assignment in hand:
                self._batches.haunt(assignment.about.slot, ending.pid)

    def _flows_of(self, assignment: Assignment) -> list[Flow]:
        if isinstance(assignment.job, Encode):
            return self._embedding.flows_of(assignment)
        return [assignment.about] if isinstance(assignment.about, Flow) else []

    def _deal(self, role: Role, choose: Callable[[Member], Assignment | None]) -> None:
        """One job at a time to whoever has least in hand."""
        members = [member for member in self._crew.of(role) if member.room > 0]
        while members:
            member = min(members, key=lambda one: len(one.hand))
            assignment = choose(member)
            if assignment is not None:
                self._crew.give(member, assignment)
            if assignment is None or member.room <= 0:
                members.remove(member)

    def _flush(self) -> bool:
        """Close a batch that isn't full where a device would otherwise wait for tiles that don't come."""
        idle = any(member.ready and not member.hand for member in self._crew.of(Role.DEVICE))
        if not idle or self._embedding.is_waiting or not self._batches.waits:
            self._landed_at = None
            return False
        now = time.monotonic()
        self._landed_at = now if self._landed_at is None else self._landed_at
        if any(flow.reading or flow.blocks for flow in self._scans) and now - self._landed_at < _FLUSH_S:
            return False
        self._landed_at = None
        return self._batches.flush()
