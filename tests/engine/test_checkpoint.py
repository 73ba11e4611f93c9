"""Embeddings on disk survive kills and damage: a tile is believed only where its very row is read back."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.errors import StorageFull
from pellucid.core.seeds import generator
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader, CheckpointIncomplete, describe, read_checkpoint

HEADER = CheckpointHeader(scan="a" * 64, spec="b" * 64, grid="c" * 64, n_tiles=40, dim=12)
TRUTH = generator("checkpoint").normal(size=(HEADER.n_tiles, HEADER.dim)).astype(np.float16)
UNREADABLE = np.zeros(HEADER.n_tiles, dtype=np.bool_)
UNREADABLE[[3, 17, 18]] = True
ORDER = generator("order").permutation(HEADER.n_tiles)


def write(checkpoint, index):
    index = np.asarray(index, dtype=np.int64)
    checkpoint.write(index, TRUTH[index], ~UNREADABLE[index])


def write_batches(path, batches, header=HEADER):
    checkpoint = Checkpoint.open(path, header)
    for batch in batches:
        write(checkpoint, batch)
    checkpoint.close()
    return path.read_bytes()


def finish(path):
    """What a run that resumes does: the tiles that are not done, and no others."""
    checkpoint = Checkpoint.open(path, HEADER)
    done = checkpoint.done.copy()
    write(checkpoint, np.flatnonzero(~done))
    checkpoint.close()
    return done


def assert_right(path):
    features, readable = read_checkpoint(path)
    np.testing.assert_array_equal(readable, ~UNREADABLE)
    assert features.dtype == np.float16
    np.testing.assert_array_equal(features, TRUTH[~UNREADABLE])


BATCHES = [ORDER[:7], ORDER[7:8], ORDER[8:30], ORDER[30:]]


def test_rows_come_back_in_the_grids_order_without_the_unreadable(tmp_path):
    path = tmp_path / "new" / "scan.embeddings"
    write_batches(path, BATCHES)
    assert_right(path)


def test_a_tile_written_in_any_row_layout_comes_back(tmp_path):
    path = tmp_path / "x.embeddings"
    checkpoint = Checkpoint.open(path, HEADER)
    wide = np.repeat(TRUTH, 2, axis=1)[::-1, ::2]
    index = np.arange(HEADER.n_tiles, dtype=np.int64)[::-1]
    checkpoint.write(index, wide, ~UNREADABLE[index])
    assert_right(path)


def test_a_resume_knows_what_is_done(tmp_path):
    path = tmp_path / "x.embeddings"
    write_batches(path, BATCHES[:3])
    checkpoint = Checkpoint.open(path, HEADER)
    expected = np.zeros(HEADER.n_tiles, dtype=np.bool_)
    expected[ORDER[:30]] = True
    np.testing.assert_array_equal(checkpoint.done, expected)
    np.testing.assert_array_equal(checkpoint.readable, expected & ~UNREADABLE)
    assert checkpoint.n_done == 30
    write(checkpoint, ORDER[30:])
    assert checkpoint.n_done == HEADER.n_tiles
    assert_right(path)


def test_synced_counts_what_was_written_before_the_sync(tmp_path):
    checkpoint = Checkpoint.open(tmp_path / "x.embeddings", HEADER)
    write(checkpoint, BATCHES[0])
    assert (checkpoint.n_done, checkpoint.n_synced) == (7, 0)
    checkpoint.sync()
    write(checkpoint, BATCHES[1])
    assert (checkpoint.n_done, checkpoint.n_synced) == (8, 7)


def test_a_sync_after_the_end_does_nothing(tmp_path):
    checkpoint = Checkpoint.open(tmp_path / "x.embeddings", HEADER)
    write(checkpoint, BATCHES[0])
    checkpoint.close()
    checkpoint.sync()
    assert checkpoint.n_synced == 0


def test_a_tile_written_twice_counts_once_and_the_last_row_stands(tmp_path):
    path = tmp_path / "x.embeddings"
    checkpoint = Checkpoint.open(path, HEADER)
    index = ORDER[:7].astype(np.int64)
    checkpoint.write(index, TRUTH[index] + 1, ~UNREADABLE[index])
    for batch in BATCHES:
        write(checkpoint, batch)
    assert checkpoint.n_done == HEADER.n_tiles
    assert_right(path)


@pytest.mark.parametrize("field", ["scan", "spec", "grid", "n_tiles", "dim"])
def test_another_header_starts_anew(tmp_path, field):
    path = tmp_path / "x.embeddings"
    write_batches(path, BATCHES)
    value = getattr(HEADER, field)
    other = replace(HEADER, **{field: value + 1 if isinstance(value, int) else "d" * 64})
    checkpoint = Checkpoint.open(path, other)
    assert checkpoint.n_done == 0
    assert describe(path).header == other
    with pytest.raises(CheckpointIncomplete):
        read_checkpoint(path)


def test_records_of_another_scan_behind_this_header_are_not_believed(tmp_path):
    other = replace(HEADER, scan="e" * 64)
    foreign = write_batches(tmp_path / "other", BATCHES, header=other)
    own = write_batches(tmp_path / "own", [])
    (tmp_path / "mixed").write_bytes(own + foreign[len(own) :])
    assert Checkpoint.open(tmp_path / "mixed", HEADER).n_done == 0


@pytest.mark.parametrize("content", [b"", b"PELLEMB", b"\0" * 9000, b"PELLEMB\x02" + b"\xff" * 900, b"{}" * 400])
def test_a_file_of_something_else_starts_anew(tmp_path, content):
    path = tmp_path / "x.embeddings"
    path.write_bytes(content)
    assert describe(path) is None
    assert not finish(path).any()
    assert_right(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_keeps_whole_records_only(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "x.embeddings"
    sizes = [len(write_batches(path, []))]
    sizes += [len(write_batches(path, [batch])) for batch in BATCHES]
    keep = data.draw(st.integers(0, sizes[-1]))
    padding = data.draw(st.sampled_from([0, 1, 5000]))
    os.truncate(path, keep)
    os.truncate(path, keep + padding)  # a file system may have grown the file before its data came
    done = finish(path)
    n_whole = sum(size <= keep for size in sizes[1:])
    expected = np.zeros(HEADER.n_tiles, dtype=np.bool_)
    for batch in BATCHES[:n_whole]:
        expected[batch] = True
    np.testing.assert_array_equal(done, expected)
    assert_right(path)


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=6))
def test_flipped_bits_never_give_a_wrong_row(tmp_path_factory, flips):
    path = tmp_path_factory.mktemp("flip") / "x.embeddings"
    whole = write_batches(path, BATCHES)
    damaged = bytearray(whole)
    for place, bit in flips:
        damaged[int(place * len(damaged))] ^= 1 << bit
    path.write_bytes(damaged)
    done = finish(path)
    assert done.all() == (damaged == whole)
    assert_right(path)


def test_a_flip_in_rows_costs_that_record_alone(tmp_path):
    path = tmp_path / "x.embeddings"
    start = len(write_batches(path, BATCHES[:2]))
    content = bytearray(write_batches(path, BATCHES[2:]))
    middle = len(content) - len(BATCHES[3]) * HEADER.dim * 2 - 200
    assert middle > start + 200
    content[middle] ^= 16
    path.write_bytes(content)
    with pytest.raises(CheckpointIncomplete, match="22 of 40"):
        read_checkpoint(path)
    done = finish(path)
    assert set(np.flatnonzero(~done)) == set(BATCHES[2])
    assert_right(path)


def test_all_tiles_unreadable(tmp_path):
    path = tmp_path / "x.embeddings"
    checkpoint = Checkpoint.open(path, HEADER)
    index = np.arange(HEADER.n_tiles, dtype=np.int64)
    checkpoint.write(index, np.full_like(TRUTH, np.nan), np.zeros(HEADER.n_tiles, dtype=np.bool_))
    features, readable = read_checkpoint(path)
    assert features.shape == (0, HEADER.dim)
    assert not readable.any()
    assert describe(path).n_unreadable == HEADER.n_tiles


def test_a_scan_without_tiles(tmp_path):
    path = tmp_path / "x.embeddings"
    Checkpoint.open(path, replace(HEADER, n_tiles=0)).close()
    features, readable = read_checkpoint(path)
    assert (features.shape, readable.shape) == ((0, HEADER.dim), (0,))


@pytest.mark.parametrize(
    ("index", "features", "readable"),
    [
        (np.array([0, 40]), TRUTH[:2], np.ones(2, bool)),
        (np.array([-1]), TRUTH[:1], np.ones(1, bool)),
        (np.array([0]), TRUTH[:2], np.ones(1, bool)),
        (np.array([0]), TRUTH[:1, :5], np.ones(1, bool)),
        (np.array([0]), TRUTH[:1].astype(np.float32), np.ones(1, bool)),
        (np.array([0]), TRUTH[:1], np.ones(1, np.uint8)),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_kept(tmp_path, index, features, readable):
    path = tmp_path / "x.embeddings"
    checkpoint = Checkpoint.open(path, HEADER)
    with pytest.raises(ValueError):
        checkpoint.write(index, features, readable)
    assert not checkpoint.done.any()
    write(checkpoint, np.arange(40))
    assert_right(path)


def test_describe_sees_a_checkpoint_that_is_being_written(tmp_path):
    path = tmp_path / "x.embeddings"
    assert describe(path) is None
    checkpoint = Checkpoint.open(path, HEADER)
    write(checkpoint, [3, 4, 5])
    state = describe(path)
    assert (state.header, state.n_done, state.n_unreadable) == (HEADER, 3, 1)
    assert state.size_bytes == path.stat().st_size
    assert abs(state.modified - time.time()) < 60


def test_remove_leaves_nothing(tmp_path):
    checkpoint = Checkpoint.open(tmp_path / "x.embeddings", HEADER)
    write(checkpoint, [1])
    checkpoint.remove()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_owner_that_lost_its_lease_cannot_spoil_or_remove_the_successors_file(tmp_path):
    path = tmp_path / "x.embeddings"
    old = Checkpoint.open(path, HEADER)
    write(old, BATCHES[0])
    new = Checkpoint.open(path, HEADER)
    assert new.n_done == 7
    write(old, BATCHES[1])
    for batch in BATCHES[1:]:
        write(new, batch)
    write(old, BATCHES[2])
    old.remove()
    assert_right(path)
    new.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_disk_is_said_and_what_was_written_stays(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        header = replace(HEADER, n_tiles=400, dim=1536)
        rows = generator("full").normal(size=(400, 1536)).astype(np.float16)
        checkpoint = Checkpoint.open(small / "x.embeddings", header)
        everything = np.ones(16, dtype=np.bool_)
        batches = [np.arange(first, first + 16) for first in range(0, 400, 16)]
        with pytest.raises(StorageFull):  # noqa: PT012
            for batch in batches:
                checkpoint.write(batch, rows[batch], everything)
        n_kept = checkpoint.n_done
        assert 16 <= n_kept < 400
        assert describe(small / "x.embeddings").n_done == n_kept
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        for batch in batches[n_kept // 16 :]:
            checkpoint.write(batch, rows[batch], everything)
        checkpoint.sync()
        checkpoint.close()
        np.testing.assert_array_equal(read_checkpoint(small / "x.embeddings")[0], rows)
    finally:
        subprocess.run(["umount", str(small)], check=True)


_WRITER = """
import json, sys
from pathlib import Path
import numpy as np
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
assert "torch" not in sys.modules
header = CheckpointHeader(**json.loads(sys.argv[2]))
checkpoint = Checkpoint.open(Path(sys.argv[1]), header)
left = np.flatnonzero(~checkpoint.done)
print("resumed", checkpoint.n_done, flush=True)
for first in range(0, len(left), 16):
    index = left[first : first + 16]
    rows = (index[:, None] % 1999 + np.arange(header.dim) % 7).astype(np.float16)
    checkpoint.write(index, rows, index % 11 != 0)
    print("wrote", checkpoint.n_done, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_wrote(tmp_path):
    path = tmp_path / "x.embeddings"
    header = replace(HEADER, n_tiles=60_000, dim=64)
    command = [sys.executable, "-c", _WRITER, str(path), json.dumps({k: getattr(header, k) for k in header.__slots__})]
    said, kills = 0, 0
    pauses = generator("kills")
    while True:
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        resumed = int(writer.stdout.readline().split()[1])
        assert said <= resumed <= said + 16
        time.sleep(float(pauses.uniform(0.001, 0.03)))
        if kills < 6:
            writer.send_signal(signal.SIGKILL)
            kills += 1
        whole_lines = writer.stdout.read().rpartition("\n")[0].splitlines()
        said = int(whole_lines[-1].split()[1]) if whole_lines else resumed
        if writer.wait() == 0:
            break
    assert kills >= 3
    features, readable = read_checkpoint(path)
    index = np.arange(header.n_tiles)
    np.testing.assert_array_equal(readable, index % 11 != 0)
    expected = (index[:, None] % 1999 + np.arange(header.dim) % 7).astype(np.float16)
    np.testing.assert_array_equal(features, expected[readable])


def n_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_opening_often_leaves_no_file_open(tmp_path):
    before = n_open_files()
    for number in range(50):
        checkpoint = Checkpoint.open(tmp_path / "x.embeddings", HEADER)
        if not checkpoint.done.any():
            write(checkpoint, [number % 40])
        checkpoint.close()
        describe(tmp_path / "x.embeddings")
    assert n_open_files() == before


def test_writing_costs_little(tmp_path):
    header = replace(HEADER, n_tiles=8192, dim=1536)
    rows = generator("cost").normal(size=(64, 1536)).astype(np.float16)
    readable = np.ones(64, dtype=np.bool_)
    checkpoint = Checkpoint.open(tmp_path / "x.embeddings", header)
    costs = []
    for first in range(0, 8192, 64):
        index = np.arange(first, first + 64)
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = before.ru_utime + before.ru_stime
        checkpoint.write(index, rows, readable)
        after = resource.getrusage(resource.RUSAGE_SELF)
        costs.append(after.ru_utime + after.ru_stime - started)
    assert float(np.median(costs)) / 64 < 20e-6
