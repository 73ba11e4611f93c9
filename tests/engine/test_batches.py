"""Slots under every order of reserving, reading, dropping, embedding and deaths."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pellucid.engine.batches import Batches, Slot, SlotState
from pellucid.engine.messages import Target

N_SLOTS, BATCH = 3, 4


Places = tuple[Target, ...]


class AnyOrder(RuleBasedStateMachine):
    """Every tile of a scan that stays comes out once, and every slot becomes free."""

    reads = Bundle("reads")
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.batches = Batches(N_SLOTS, BATCH)
        self.next_tile = 0
        self.expected: dict[int, set[int]] = {}
        self.came: dict[int, list[int]] = {}
        self.dropped: set[int] = set()
        self.open_reads: list[Places] = []
        self.at_device: list[Slot] = []

    @rule(target=reads, owner=st.integers(0, 2), count=st.integers(1, 2 * BATCH))
    def reserve(self, owner: int, count: int) -> Places:
        if owner in self.dropped:
            return ()
        tiles = np.arange(self.next_tile, self.next_tile + count)
        room = self.batches.room
        places = self.batches.reserve(owner, tiles)
        if places is None:
            assert count > room
            return ()
        self.next_tile += count
        self.expected.setdefault(owner, set()).update(tiles.tolist())
        self.open_reads.append(places)
        assert sum(place.count for place in places) == count
        return places

    @rule(places=consumes(reads))
    def land(self, places: Places) -> None:
        self.batches.land(places, np.ones(sum(place.count for place in places), np.bool_))
        self.open_reads = [one for one in self.open_reads if one is not places]

    @rule(places=consumes(reads), pid=st.integers(1, 3))
    def reader_cannot_be_ended(self, places: Places, pid: int) -> None:
        whose = {
            owner for place in places for owner in self.batches.slots[place.slot].owners[place.first :][: place.count]
        }
        tiles = self.batches.abandon(places, pid)
        self.open_reads = [one for one in self.open_reads if one is not places]
        assert len(tiles) == sum(place.count for place in places)
        for owner in whose - {None}:
            self.expected[owner] -= set(tiles.tolist())

    @rule(pid=st.integers(1, 3))
    def it_is_gone_after_all(self, pid: int) -> None:
        self.batches.laid(pid)

    @rule(owner=st.integers(0, 2))
    def drop(self, owner: int) -> None:
        self.batches.drop(owner)
        self.dropped.add(owner)

    @rule()
    def flush(self) -> None:
        self.batches.flush()

    @rule(target=taken)
    def take(self) -> Slot | None:
        slot = self.batches.take_ready()
        if slot is not None:
            self.at_device.append(slot)
        return slot

    @rule(slot=consumes(taken))
    def write(self, slot: Slot | None) -> None:
        if slot is not None:
            self.at_device.remove(slot)
            self.take_out(slot)

    def take_out(self, slot: Slot) -> None:
        for owner in slot.present():
            self.came.setdefault(owner, []).extend(slot.tiles[row] for row in slot.rows_of(owner))
        self.batches.free(slot)

    @invariant()
    def rows_fit(self) -> None:
        for slot in self.batches.slots:
            assert slot.landed <= len(slot.owners) == len(slot.tiles) == len(slot.readable) <= BATCH
            assert slot.state is not SlotState.FREE or not slot.owners
            assert slot.state is not SlotState.READY or slot.landed == len(slot.owners)
            assert (slot.state is not SlotState.ABANDONED) or slot.haunts

    @invariant()
    def room_is_in_free_and_open_slots(self) -> None:
        free = self.batches.count(SlotState.FREE) * BATCH
        assert free <= self.batches.room < free + BATCH

    def teardown(self) -> None:
        """End the reads and batches that the rules left open: nothing may stay behind."""
        for places in list(self.open_reads):
            self.land(places)
        self.batches.flush()
        while (slot := self.batches.take_ready()) is not None:
            self.at_device.append(slot)
        for slot in self.at_device:
            self.take_out(slot)
        for pid in (1, 2, 3):
            self.batches.laid(pid)
        assert self.batches.count(SlotState.FREE) == N_SLOTS
        assert self.batches.room == N_SLOTS * BATCH
        for owner, tiles in self.expected.items():
            if owner not in self.dropped:
                assert sorted(self.came.get(owner, [])) == sorted(tiles)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_slot_whose_scans_were_all_dropped_needs_no_device() -> None:
    batches = Batches(2, 4)
    targets = batches.reserve(1, np.arange(3))
    assert targets is not None
    batches.drop(1)
    assert batches.count(SlotState.FILLING) == 1, "its reader still writes there"
    batches.land(targets, np.ones(3, np.bool_))
    assert batches.count(SlotState.FREE) == 2
    assert not batches.has_ready
