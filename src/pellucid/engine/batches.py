"""Which tile of which scan lies where in the shared buffers. Pure bookkeeping: nothing here reads or writes them."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.engine.messages import Target


class SlotState(StrEnum):
    """Where a slot is on its way. An abandoned one may still be written to by a process that can't be ended."""

    FREE = "free"
    FILLING = "filling"
    READY = "ready"
    AT_DEVICE = "at_device"
    ABANDONED = "abandoned"


@dataclass(slots=True, eq=False)
class Slot:
    """A batch on its way.

    `owners` and `tiles` say what each reserved row is: the scan, and the tile's index in its grid. `landed` counts
    rows whose tile was read, `readable` marks those that could be; a row whose scan was dropped has no owner.
    `haunts` are the processes that may still write here although nobody asks them to.
    """

    number: int
    owners: list[Hashable | None] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)
    landed: int = 0
    readable: list[bool] = field(default_factory=list)
    state: SlotState = SlotState.FREE
    haunts: set[int] = field(default_factory=set)

    def rows_of(self, owner: Hashable) -> list[int]:
        """The rows of a scan."""
        return [row for row, whose in enumerate(self.owners) if whose == owner]

    def present(self) -> list[Hashable]:
        """The scans that have rows here, in the order of their first."""
        return list(dict.fromkeys(owner for owner in self.owners if owner is not None))


class Batches:
    """Fills batches of one fixed shape with tiles of any scans, in the order in which they are reserved."""

    def __init__(self, n_slots: int, batch: int) -> None:
        self.batch = batch
        self.slots = [Slot(number) for number in range(n_slots)]
        self._free = deque(self.slots)
        self._ready: deque[Slot] = deque()
        self._open: Slot | None = None

    def count(self, state: SlotState) -> int:
        """How many slots are in a state."""
        return sum(slot.state is state for slot in self.slots)

    @property
    def room(self) -> int:
        """Tiles that can be reserved."""
        left = 0 if self._open is None else self.batch - len(self._open.owners)
        return left + len(self._free) * self.batch

    @property
    def most(self) -> int:
        """Tiles that find room at once, at the latest when all that is on its way has left."""
        return max(1, (self.usable - 1) * self.batch)

    @property
    def usable(self) -> int:
        """Slots that aren't, and won't be, abandoned."""
        return sum(not slot.haunts for slot in self.slots)

    def reserve(self, owner: Hashable, tiles: NDArray[np.int64]) -> tuple[Target, ...] | None:
        """Places for a scan's tiles, in their order; None where there is no room for all of them."""
        if len(tiles) > self.room:
            return None
        targets = []
        at = 0
        while at < len(tiles):
            slot = self._current()
            first = len(slot.owners)
            count = min(self.batch - first, len(tiles) - at)
            slot.owners += [owner] * count
            slot.tiles += [int(tile) for tile in tiles[at : at + count]]
            slot.readable += [False] * count
            targets.append(Target(slot.number, first, count))
            at += count
            if len(slot.owners) == self.batch:
                self._open = None
        return tuple(targets)

    def land(self, targets: tuple[Target, ...], readable: NDArray[np.bool_]) -> None:
        """The reserved tiles were read; those that could not be are black."""
        at = 0
        for target in targets:
            slot = self.slots[target.slot]
            slot.readable[target.first : target.first + target.count] = readable[at : at + target.count].tolist()
            slot.landed += target.count
            at += target.count
            self._complete(slot)

    def abandon(self, targets: tuple[Target, ...], pid: int | None = None) -> NDArray[np.int64]:
        """Nobody waits any more for what was to fill these places.

        Args:
            targets: the places.
            pid: the process that was to fill them, where it can't be ended: its slots rest after this.

        Returns:
            The tiles that were to lie there, in their order, for another place.
        """
        tiles: list[int] = []
        for target in targets:
            slot, rows = self.slots[target.slot], slice(target.first, target.first + target.count)
            tiles += slot.tiles[rows]
            slot.owners[rows] = [None] * target.count
            if pid is not None:
                self.haunt(slot, pid)
        self.land(targets, np.zeros(len(tiles), np.bool_))
        return np.array(tiles, np.int64)

    def haunt(self, slot: Slot, pid: int) -> None:
        """The slot rests once it is free, for as long as that process may write to it."""
        slot.haunts.add(pid)
        if slot is self._open:
            self._open = None

    def laid(self, pid: int) -> None:
        """The process that could not be ended is gone after all."""
        for slot in self.slots:
            slot.haunts.discard(pid)
            if slot.state is SlotState.ABANDONED and not slot.haunts:
                self.free(slot)

    @property
    def waits(self) -> bool:
        """Whether all tiles of a slot that isn't full have landed."""
        slot = self._open
        return slot is not None and bool(slot.owners) and slot.landed == len(slot.owners)

    def flush(self) -> bool:
        """Close the slot that is being filled although it isn't full; False where there is none to close."""
        slot = self._open
        if slot is None or not self.waits:
            return False
        self._open = None
        self._complete(slot)
        return True

    @property
    def has_ready(self) -> bool:
        """Whether a slot waits for a device."""
        return bool(self._ready)

    def take_ready(self) -> Slot | None:
        """The slot that has waited longest for a device, from then on at one."""
        if not self._ready:
            return None
        slot = self._ready.popleft()
        slot.state = SlotState.AT_DEVICE
        return slot

    def drop(self, owner: Hashable) -> None:
        """Forget a scan's rows; its reads that are still under way land in places that nobody looks at."""
        for slot in self.slots:
            if owner in slot.owners:
                slot.owners = [None if whose == owner else whose for whose in slot.owners]
        if self._open is not None:
            self._complete(self._open)

    def free(self, slot: Slot) -> None:
        """The slot's features were taken out."""
        slot.owners, slot.tiles, slot.readable, slot.landed = [], [], [], 0
        slot.state = SlotState.ABANDONED if slot.haunts else SlotState.FREE
        if not slot.haunts:
            self._free.append(slot)

    def _current(self) -> Slot:
        if self._open is None:
            self._open = self._free.popleft()
            self._open.state = SlotState.FILLING
        return self._open

    def _complete(self, slot: Slot) -> None:
        if slot.state is not SlotState.FILLING or slot.landed < len(slot.owners):
            return
        if all(owner is None for owner in slot.owners):
            self._open = None if slot is self._open else self._open
            self.free(slot)
        elif slot is not self._open:
            slot.state = SlotState.READY
            self._ready.append(slot)
