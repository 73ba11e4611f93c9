import gc
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tile_slides
from pellucid.slides import open_slide, read_tiles
from pellucid.training.stream import StreamPlanInvalid


def told(stream, steps):
    """What the steps of a stream give, copied out of its memory."""
    seen = []
    for step in steps:
        taken = stream.get(step)
        seen.append(
            (taken.scan.digest, taken.tiles.tolist(), taken.rows.tolist(), taken.chunks.tolist(), taken.pixels.copy())
        )
        stream.release(taken)
    return seen


def assert_same(one, other):
    assert [row[:4] for row in one] == [row[:4] for row in other]
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine[4], theirs[4])


@pytest.fixture
def scans(pristine_slides):
    return tile_slides.all_scans(pristine_slides)


def test_a_step_gives_the_very_pixels_of_the_reading_room(make_stream, scans):
    stream = make_stream(scans)
    taken = stream.get(0)
    grid = taken.scan.grid
    drawn = replace(grid, coords=grid.coords[taken.tiles], tissue_fraction=grid.tissue_fraction[taken.tiles])
    with open_slide(taken.scan.entry.path) as slide:
        expected = np.concatenate([batch.pixels for batch in read_tiles(slide, drawn, batch_size=7)])
    assert len(taken.tiles) == len(set(taken.tiles.tolist())) == 40
    assert np.array_equal(taken.pixels, expected)
    assert taken.rows.tolist() == list(range(40))
    assert taken.chunks.tolist() == [row // 8 for row in range(40)]
    assert (taken.n_chunks, taken.epoch, taken.position, taken.failures) == (5, 0, 0, ())
    assert taken.waited_s > 0


def test_nothing_depends_on_readers_prefetching_or_where_it_starts(make_stream, scans):
    stream = make_stream(scans)
    assert (stream.epoch_steps, stream.n_steps) == (3, 12)
    plain = told(stream, range(12))
    assert len({row[0] for row in plain[:6]}) == 6
    assert_same(told(make_stream(scans, readers=3, ahead=5), range(12)), plain)
    assert_same(told(make_stream(scans, ahead=0), range(7, 12)), plain[7:])
    one_slot = make_stream(scans, ahead=3, max_bytes=500_000)
    assert one_slot.n_bytes <= 500_000
    assert_same(told(one_slot, (2, 3, 9, 1)), [plain[2], plain[3], plain[9], plain[1]])


def test_all_tiles_of_a_small_slide_are_taken(make_stream, scans):
    taken = make_stream(scans, tiles=1000, chunk=96).get(0)
    assert sorted(taken.tiles.tolist()) == list(range(100))
    assert taken.n_chunks == 2


def test_memory_for_tiles_is_bounded_and_stays_so(make_stream, scans):
    slot = -(-40 * 56 * 56 * 3 // 4096) * 4096
    gc.collect()
    before = _mapped("pellucid-buffers")
    stream = make_stream(scans, ahead=2, epochs=30)
    assert stream.n_bytes == 3 * slot
    stream.release(stream.get(0))
    for step in range(1, 60):
        stream.release(stream.get(step))
        assert sorted(_mapped("pellucid-buffers")) == sorted([*before, 3 * slot])


def test_a_budget_limits_what_is_read_ahead(make_stream, scans):
    slot = -(-40 * 56 * 56 * 3 // 4096) * 4096
    assert make_stream(scans, ahead=50, max_bytes=4 * slot + 1).n_bytes == 4 * slot
    with pytest.raises(StreamPlanInvalid, match=r"max_bytes is 1000, but 40 tiles of a slide take \d+ bytes"):
        make_stream(scans, max_bytes=1000)


def test_tiles_that_are_held_are_not_written_over(make_stream, scans):
    stream = make_stream(scans, readers=2)
    taken = stream.get(0)
    before = taken.pixels.copy()
    for step in range(1, 8):
        stream.release(stream.get(step))
    assert np.array_equal(taken.pixels, before)


def test_memory_that_is_never_released_is_an_error_and_no_endless_wait(make_stream, scans):
    stream = make_stream(scans, ahead=1)
    stream.get(0), stream.get(1)
    with pytest.raises(ValueError, match=r"the tiles of steps \[0, 1\] hold all memory"):
        stream.get(2)


def test_a_step_may_be_taken_twice_and_each_gives_its_memory_back(make_stream, scans):
    stream = make_stream(scans, ahead=1)
    for _ in range(3):
        first, second = stream.get(4), stream.get(4)
        assert np.array_equal(first.pixels, second.pixels)
        assert not np.shares_memory(first.pixels, second.pixels)
        stream.release(first)
        stream.release(first)
        stream.release(second)


def test_nothing_is_read_beyond_the_last_step(make_stream, scans):
    stream = make_stream(scans, epochs=1)
    stream.release(stream.get(2))
    with pytest.raises(ValueError, match="there is no step 3 of 3"):
        stream.get(3)


def test_closing_leaves_no_process_thread_memory_or_descriptor(make_stream, scans):
    make_stream(scans).get(0)  # what is made once for all, such as the watch for memory kills
    stream = make_stream(scans, readers=2)
    gc.collect()
    files, threads, maps = _files(), threading.active_count(), _mapped("pellucid-buffers")
    taken = stream.get(0)
    pids = stream.reader_pids
    assert len(pids) == 2
    before = taken.pixels.copy()
    stream.close()
    stream.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert np.array_equal(taken.pixels, before)
    del taken
    gc.collect()
    assert (_files(), threading.active_count()) == (files, threads)
    assert _mapped("pellucid-buffers") == maps


def test_a_closed_stream_begins_again_where_it_is_asked_to(make_stream, scans):
    stream = make_stream(scans)
    plain = told(stream, range(3))
    stream.close()
    assert stream.reader_pids == []
    assert_same(told(stream, range(1, 3)), plain[1:])


def _files():
    return len(list(Path("/proc/self/fd").iterdir()))


def _mapped(name):
    """Sizes of the mappings of that name."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if name in line]
    places = [line.split()[0].split("-") for line in lines]
    return [int(end, 16) - int(start, 16) for start, end in places]
