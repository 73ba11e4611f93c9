import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pellucid.engine.buffers import Buffers, shape_bytes
from pellucid.engine.messages import BufferShape

ODD = BufferShape(n_slots=3, batch=5, tile_px=7, dim=3)


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


@pytest.fixture
def odd():
    made = Buffers.create(ODD)
    yield made
    made.close()


def test_every_place_is_its_own_and_starts_as_zeros(odd):
    for slot in range(3):
        assert not odd.tiles(slot).any()
        assert not odd.features(slot).any()
        odd.tiles(slot)[:] = 10 + slot
        odd.features(slot)[:] = slot + 0.5
    for slot in range(3):
        assert odd.tiles(slot).shape == (5, 7, 7, 3)
        assert (odd.tiles(slot) == 10 + slot).all()
        assert odd.features(slot).shape == (5, 3)
        assert (odd.features(slot) == np.float16(slot + 0.5)).all()


def test_slots_and_features_begin_at_pages(odd):
    places = [array.ctypes.data for slot in range(3) for array in (odd.tiles(slot), odd.features(slot))]
    assert {place % mmap.PAGESIZE for place in places} == {0}
    assert shape_bytes(ODD) == 3 * 2 * mmap.PAGESIZE


def test_another_process_writes_into_the_same_memory(odd):
    script = (
        "import sys; from pellucid.engine.buffers import Buffers; from pellucid.engine.messages import BufferShape\n"
        f"one = Buffers.attach(int(sys.argv[1]), {ODD!r}); one.tiles(2)[4] = 99; one.features(1)[0] = 1.5"
    )
    subprocess.run([sys.executable, "-c", script, str(odd.fd)], pass_fds=(odd.fd,), check=True)
    assert (odd.tiles(2)[4] == 99).all()
    assert not odd.tiles(2)[:4].any()
    assert odd.features(1)[0].tolist() == [1.5] * 3


def test_buffers_of_another_shape_are_refused(odd):
    fd = os.dup(odd.fd)
    with pytest.raises(ValueError, match="can't have the shape"):
        Buffers.attach(fd, BufferShape(n_slots=4, batch=5, tile_px=7, dim=3))
    os.close(fd)


def test_nobody_can_take_the_memory_away(odd):
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(odd.fd, 0)


def test_nothing_lies_in_shared_memory_or_stays_open():
    before = names("/proc/self/fd"), names("/dev/shm")
    for _ in range(20):
        made = Buffers.create(ODD)
        made.tiles(0)[:] = 1
        assert names("/dev/shm") == before[1]
        made.close()
        made.close()
    assert names("/proc/self/fd") == before[0]


def test_a_view_outlives_its_buffers_and_takes_the_memory_with_it():
    made = Buffers.create(ODD)
    view = made.tiles(1)
    made.close()
    view[:] = 5
    assert view.sum() == 5 * view.size
    del view, made
    gc.collect()
    assert "pellucid-buffers" not in Path("/proc/self/maps").read_text()
