"""Readers follow the device, tried on simulated machines."""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from pellucid.core.seeds import generator
from pellucid.engine.tuning import Load, ReaderTuner


@dataclass
class Plant:
    """A device of `device` tiles/s behind a ring of slots, filled by readers of `reader` tiles/s each.

    `storage` bounds all readers together; a tile costs `1 / reader` core seconds of `cores`.
    """

    device: float
    reader: float
    storage: float = 1e9
    cores: float = 64.0
    n_slots: int = 16
    batch: int = 64
    jobs: int = 10**9
    noise: float = 0.02
    ready: float = 0.0
    cpu: float = 0.0

    def second(self, readers, draw):
        """One second in steps of 10 ms; gives the load over it."""
        busy = free = ready = spent = 0.0
        capacity = self.n_slots * self.batch
        speed = 1 + self.noise * draw.normal()
        for _ in range(100):
            supply = min(readers * self.reader * speed, self.storage, self.cores * self.reader) / 100
            read = min(supply, capacity - self.ready, self.jobs)
            self.jobs -= read
            self.ready += read
            spent += read / self.reader
            done = min(self.device / 100, self.ready)
            self.ready -= done
            busy += done / (self.device / 100) / 100
            free += (1 - self.ready / capacity) / 100
            ready += self.ready / capacity / 100
        return Load(
            device_busy=busy,
            free_slots=free,
            ready_slots=ready,
            cpu_idle=max(0.0, 1 - spent / self.cores),
            readers=readers,
            tile_jobs=int(self.jobs),
        )


def run(plant, *, seconds, readers=1, least=1, most=16, tuner=None):
    """The number of readers after each second, and what was said."""
    tuner = tuner or ReaderTuner(min_readers=least, max_readers=most)
    draw = generator("plant")
    history, reasons = [], []
    for _ in range(seconds):
        advice = tuner.advise(plant.second(readers, draw))
        assert advice.step in (-1, 0, 1)
        assert bool(advice.step) == bool(advice.why)
        readers += advice.step
        assert least <= readers <= most
        history.append(readers)
        if advice.why:
            reasons.append(advice.why)
    return history, reasons


def n_changes(history):
    return sum(a != b for a, b in pairwise(history))


@pytest.mark.parametrize(("device", "expected"), [(900, 1), (1800, 2), (4500, 5)])
def test_a_starved_device_gets_the_readers_it_needs_and_no_more(device, expected):
    history, reasons = run(Plant(device=device, reader=970), seconds=600)
    assert expected <= history[-1] <= expected + 1
    assert history.index(expected) < 12 * expected
    assert max(history) <= expected + 1
    assert n_changes(history[300:]) <= 2
    if expected > 1:
        assert "the device is busy" in reasons[0]


def test_a_slow_device_gives_readers_back():
    history, reasons = run(Plant(device=20, reader=970), seconds=600, readers=8)
    assert history[-1] == 1
    assert n_changes(history[450:]) == 0
    assert "wait for the device" in reasons[0]


def test_storage_that_is_the_limit_is_not_tried_for_ever():
    history, reasons = run(Plant(device=5000, reader=900, storage=2000), seconds=3600)
    assert 3 <= history[-1] <= 4
    assert max(history) <= 4
    assert n_changes(history[600:]) <= 2 * 3000 / 300 + 2
    assert any("didn't help" in why and "storage" in why for why in reasons)


def test_no_reader_is_added_where_no_core_is_idle():
    history, _ = run(Plant(device=5000, reader=900, cores=2), seconds=600, readers=2)
    assert max(history) == 2


def test_between_two_numbers_it_swings_ever_more_rarely():
    history, _ = run(Plant(device=1900, reader=970, noise=0.08), seconds=3600)
    assert set(history[60:]) <= {1, 2, 3}
    assert history.count(1) < 60
    assert n_changes(history[1800:]) <= 14


def test_no_reader_is_added_at_the_end_of_the_work():
    history, _ = run(Plant(device=5000, reader=970, jobs=0), seconds=300)
    assert set(history) == {1}


def test_a_changed_device_is_followed():
    plant = Plant(device=900, reader=970)
    tuner = ReaderTuner(min_readers=1, max_readers=16)
    before, _ = run(plant, seconds=200, tuner=tuner)
    plant.device = 3800
    after, _ = run(plant, seconds=200, readers=before[-1], tuner=tuner)
    assert before[-1] <= 2
    assert 4 <= after[-1] <= 5


def test_readers_outside_of_the_bounds_are_brought_back():
    tuner = ReaderTuner(min_readers=2, max_readers=3)
    idle = {"device_busy": 0.5, "free_slots": 0.5, "ready_slots": 0.5, "cpu_idle": 0.5, "tile_jobs": 5}
    assert tuner.advise(Load(readers=1, **idle)).step == 1
    for _ in range(5):
        assert tuner.advise(Load(readers=4, **idle)).step == 0
    assert tuner.advise(Load(readers=4, **idle)).step == -1


def test_bounds_must_make_sense():
    with pytest.raises(ValueError, match="from 3 to 2"):
        ReaderTuner(min_readers=3, max_readers=2)
