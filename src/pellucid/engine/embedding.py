"""From full buffers over the devices into the scans' checkpoints."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pellucid.core.telemetry import logs
from pellucid.encoders.errors import NonFiniteFeatures
from pellucid.engine.batches import Batches, Slot, SlotState
from pellucid.engine.buffers import Buffers
from pellucid.engine.crew import Assignment, Member
from pellucid.engine.ends import error_of
from pellucid.engine.flow import Flow
from pellucid.engine.messages import Encode, Encoded, Refused


@dataclass(slots=True, eq=False)
class Batch:
    """A slot at the device: `left` of its jobs aren't answered, `broken` are scans with features that are no numbers."""

    slot: Slot
    left: int = 1
    broken: set[Hashable] = field(default_factory=set)
    chunk: int = 0


class Embedding:
    """Has ready slots embedded, and puts each tile's features where they belong.

    A device that dies leaves its buffer's tiles where they are: scans that shared it are embedded again one by one, so
    that only one which ends the device when alone is blamed.

    Args:
        batches: the slots.
        buffers: what lies in them.
        flows: the scans in hand by key.
        next_job: gives job numbers.
        keep: called with what writes features to disk; calls it again later where the disk is full.
        embedded: told of a scan whose tiles are all done.
        fail: told of a scan that can't go on, and why.
    """

    def __init__(
        self,
        batches: Batches,
        buffers: Buffers,
        flows: dict[str, Flow],
        *,
        next_job: Callable[[], int],
        keep: Callable[[Callable[[], None]], None],
        embedded: Callable[[Flow], None],
        fail: Callable[[Flow, Exception], None],
        tiles: Callable[[int], None],
    ) -> None:
        self._batches, self._buffers, self._flows = batches, buffers, flows
        self._next_job, self._keep, self._embedded, self._fail, self._tiles = next_job, keep, embedded, fail, tiles
        self._again: deque[Assignment] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether there is something that a device could do."""
        return bool(self._again) or self._batches.has_ready

    def next(self, member: Member) -> Assignment | None:
        """What a device with room does next."""
        if self._again:
            return self._again.popleft() if not member.hand else None
        while (slot := self._batches.take_ready()) is not None:
            rows = self._rows(slot)
            if rows:
                return self._assignment(Batch(slot), rows)
            self._land(Batch(slot))
        return None

    def answered(self, assignment: Assignment, answer: Encoded | Refused) -> None:
        """A device embedded rows of a slot, or refused to."""
        batch: Batch = assignment.about
        rows = _rows_of(assignment)
        if isinstance(answer, Refused):
            self._refused(batch, rows, answer)
        else:
            batch.chunk = answer.chunk
            batch.broken.update(
                batch.slot.owners[row] for row, fine in zip(rows, answer.finite, strict=True) if not fine
            )
            self._share_time(batch.slot, rows, answer.seconds)
        batch.left -= 1
        if batch.left == 0:
            self._land(batch)

    def bereaved(self, hand: list[Assignment], kills: int, quarantine: Callable[[Flow, int], None]) -> None:
        """A device died with jobs in hand, the first of which it was doing."""
        first, *others = hand
        batch: Batch = first.about
        owners = [owner for owner in batch.slot.present() if set(batch.slot.rows_of(owner)) & set(_rows_of(first))]
        again: list[Assignment] = []
        if len(owners) > 1:
            batch.left += len(owners) - 1
            again = [self._assignment(batch, [r for r in _rows_of(first) if batch.slot.owners[r] == o]) for o in owners]
            logs.get_logger("engine").warning("scans of a shared batch are embedded one by one", scans=len(owners))
        elif owners:
            first.kills += 1
            flow = self._flows.get(str(owners[0]))
            if first.kills >= kills and flow is not None:
                quarantine(flow, first.kills)
                owners = []
            else:
                again = [first]
        self._again.extendleft(reversed([*again, *others]))
        if not owners:
            batch.left -= 1
            if batch.left == 0:
                self._land(batch)

    def _assignment(self, batch: Batch, rows: list[int]) -> Assignment:
        return Assignment(job=Encode(job=self._next_job(), slot=batch.slot.number, rows=tuple(rows)), about=batch)

    def _rows(self, slot: Slot) -> list[int]:
        """Rows that hold a tile which somebody still wants."""
        return [row for row, owner in enumerate(slot.owners) if owner in self._flows and slot.readable[row]]

    def _refused(self, batch: Batch, rows: Sequence[int], answer: Refused) -> None:
        error = error_of(answer.code, answer.message, answer.remedy)
        logs.get_logger("engine").error("a batch can't be embedded", code=answer.code, trace=answer.trace)
        for owner in {batch.slot.owners[row] for row in rows}:
            flow = self._flows.get(str(owner))
            if flow is not None:
                self._fail(flow, error)

    def _share_time(self, slot: Slot, rows: Sequence[int], seconds: float) -> None:
        for owner in slot.present():
            flow = self._flows.get(str(owner))
            if flow is not None:
                mine = sum(slot.owners[row] == owner for row in rows)
                flow.spend("encode", seconds * mine / max(len(rows), 1))

    def _land(self, batch: Batch) -> None:
        self._keep(lambda: self._write(batch))

    def _write(self, batch: Batch) -> None:
        """Put every scan's features into its checkpoint. May be called again: what is written twice is the same."""
        slot = batch.slot
        features = self._buffers.features(slot.number)
        ended = []
        for owner in slot.present():
            flow = self._flows.get(str(owner))
            if flow is None or flow.checkpoint is None:
                continue
            if owner in batch.broken:
                self._fail(flow, NonFiniteFeatures("The encoder gave NaN or infinite features for tiles of the scan."))
                continue
            rows = slot.rows_of(owner)
            index = np.array([slot.tiles[row] for row in rows], np.int64)
            readable = np.array([slot.readable[row] for row in rows], np.bool_)
            flow.checkpoint.write(index, features[rows], readable)
            flow.last_write = time.monotonic()
            if 0 < batch.chunk < self._batches.batch:
                flow.circumstances["batch"] = f"{batch.chunk} of {self._batches.batch} tiles at once"
            self._tiles(len(rows))
            if flow.is_embedded:
                ended.append(flow)
        self._batches.free(slot)
        for flow in ended:
            self._embedded(flow)

    def count(self, state: SlotState) -> int:
        """How many slots are in a state."""
        return self._batches.count(state)


def _rows_of(assignment: Assignment) -> tuple[int, ...]:
    job = assignment.job
    if not isinstance(job, Encode):
        raise TypeError(f"{type(job).__name__} is no job of a device")
    return job.rows
