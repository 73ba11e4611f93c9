"""From full buffers over the devices into the scans' checkpoints."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.core.telemetry import logs
from pellucid.encoders.errors import NonFiniteFeatures
from pellucid.engine.batches import Batches, Slot
from pellucid.engine.buffers import Buffers
from pellucid.engine.disk import Disk
from pellucid.engine.flow import Flow
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import Encode, Encoded, Refused
from pellucid.engine.scans import Scans, error_of_refusal


@dataclass(slots=True, eq=False)
class Batch:
    """A slot at the device: `left` of its jobs aren't answered, `broken` are scans with features that are no numbers.

    `written` are the scans whose part is in their checkpoint.
    """

    slot: Slot
    left: int = 1
    broken: set[Hashable] = field(default_factory=set)
    written: set[Hashable] = field(default_factory=set)
    chunk: int = 0


class Embedding:
    """Has ready slots embedded, and puts each tile's features where they belong.

    A device that dies, or refuses, leaves its buffer's tiles where they are: scans that shared it are embedded again
    one by one, so that only one that does so when alone is blamed.

    Args:
        batches: the slots.
        buffers: what lies in them.
        scans: the scans in hand.
        disk: where embeddings go.
        next_job: gives job numbers.
        kills: a scan that ends a device so often when alone is quarantined.
    """

    def __init__(
        self,
        batches: Batches,
        buffers: Buffers,
        scans: Scans,
        disk: Disk,
        *,
        next_job: Callable[[], int],
        kills: int,
    ) -> None:
        self._batches, self._buffers, self._scans, self._disk = batches, buffers, scans, disk
        self._next_job, self._kills = next_job, kills
        self._again: deque[Assignment] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether there is something that a device could do."""
        return bool(self._again) or self._batches.has_ready

    def next(self, member: Member) -> Assignment | None:
        """What a device with room does next; what is done again is alone in it."""
        while self._again:
            if member.hand:
                return None
            assignment = self._again.popleft()
            if self._owners(assignment):
                return assignment
            self._done(assignment.about)
        while (slot := self._batches.take_ready()) is not None:
            rows = self._rows(slot)
            if rows:
                return self._assignment(Batch(slot), rows)
            self._land(Batch(slot))
        return None

    def answered(self, member: Member, assignment: Assignment, answer: Encoded | Refused) -> None:
        """A device embedded rows of a slot, or refused to."""
        batch: Batch = assignment.about
        if isinstance(answer, Refused):
            self._refused(assignment, answer)
            return
        rows = _rows_of(assignment)
        batch.chunk = answer.chunk
        batch.broken.update(batch.slot.owners[row] for row, fine in zip(rows, answer.finite, strict=True) if not fine)
        self._share_time(member, batch.slot, rows, answer.seconds, assignment)
        self._done(batch)

    def bereaved(self, hand: list[Assignment], *, blame: bool) -> None:
        """A device died with jobs in hand, the first of which it was doing."""
        first, *others = hand
        self._again.extendleft(reversed(others))
        owners = self._owners(first)
        if len(owners) > 1:
            self._one_by_one(first, owners)
            return
        first.kills += blame
        if first.kills < self._kills:
            self._again.appendleft(first)
            return
        for flow in owners.values():
            self._scans.quarantine(flow, first.kills)
        self._done(first.about)

    def flows_of(self, assignment: Assignment) -> list[Flow]:
        """The scans that a job is about, as far as they are in hand."""
        return list(self._owners(assignment).values())

    def _one_by_one(self, assignment: Assignment, owners: dict[Hashable, Flow]) -> None:
        batch: Batch = assignment.about
        owner_of, rows = batch.slot.owners, _rows_of(assignment)
        batch.left += len(owners) - 1
        self._again.extendleft(
            self._assignment(batch, [row for row in rows if owner_of[row] == owner]) for owner in reversed(owners)
        )
        logs.get_logger("engine").warning("scans of a shared batch are embedded one by one", scans=len(owners))

    def _refused(self, assignment: Assignment, answer: Refused) -> None:
        logs.get_logger("engine").error("a batch can't be embedded", code=answer.code)
        owners = self._owners(assignment)
        if len(owners) > 1:
            self._one_by_one(assignment, owners)
            return
        error = error_of_refusal(answer)
        for flow in owners.values():
            self._scans.fail(flow, error)
        self._done(assignment.about)

    def _assignment(self, batch: Batch, rows: list[int]) -> Assignment:
        return Assignment(job=Encode(job=self._next_job(), slot=batch.slot.number, rows=tuple(rows)), about=batch)

    def _owners(self, assignment: Assignment) -> dict[Hashable, Flow]:
        """The scans in hand that a job is about, in the order of their first row."""
        owner_of = assignment.about.slot.owners
        flows = {owner: self._scans.get(owner) for owner in dict.fromkeys(owner_of[r] for r in _rows_of(assignment))}
        return {owner: flow for owner, flow in flows.items() if flow is not None}

    def _rows(self, slot: Slot) -> list[int]:
        """Rows that hold a tile which somebody still wants."""
        wanted = {owner for owner in slot.present() if self._scans.get(owner) is not None}
        return [row for row, owner in enumerate(slot.owners) if owner in wanted and slot.readable[row]]

    def _share_time(
        self, member: Member, slot: Slot, rows: Sequence[int], seconds: float, assignment: Assignment
    ) -> None:
        for owner, count in Counter(slot.owners[row] for row in rows).items():
            flow = self._scans.get(owner)
            if flow is not None:
                flow.spend("encode", seconds * count / len(rows))
                flow.trace.merge("encode", member.name, start=assignment.begun_at, duration=seconds, count=count)

    def _done(self, batch: Batch) -> None:
        batch.left -= 1
        if batch.left == 0:
            self._land(batch)

    def _land(self, batch: Batch) -> None:
        self._disk.keep(lambda: self._write(batch))

    def _write(self, batch: Batch) -> None:
        """Put every scan's features into its checkpoint. Called again, it goes on where the disk was full."""
        slot = batch.slot
        features = self._buffers.features(slot.number)
        for owner in slot.present():
            flow = self._scans.get(owner)
            if flow is None or flow.checkpoint is None or flow.is_over or owner in batch.written:
                continue
            if owner in batch.broken:
                self._scans.fail(flow, NonFiniteFeatures("The encoder gave NaN or infinite features for tiles of it."))
                continue
            rows = slot.rows_of(owner)
            index = np.array([slot.tiles[row] for row in rows], np.int64)
            flow.checkpoint.write(index, features[rows], np.array([slot.readable[row] for row in rows], np.bool_))
            batch.written.add(owner)
            if 0 < batch.chunk < self._batches.batch:
                flow.circumstances["batch"] = f"{batch.chunk} of {self._batches.batch} tiles at once"
            self._scans.wrote(flow, len(rows))
        self._batches.free(slot)
        for owner in batch.written:
            flow = self._scans.get(owner)
            if flow is not None:
                self._scans.advanced(flow)


def _rows_of(assignment: Assignment) -> tuple[int, ...]:
    job = assignment.job
    if not isinstance(job, Encode):
        raise TypeError(f"{type(job).__name__} is no job of a device")
    return job.rows
