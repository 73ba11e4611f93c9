"""Slides that fail in the middle of a training, and readers that die."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tile_slides
from pellucid.training.stream import SlidesFailing, read_failures

TESTS = Path(tile_slides.__file__).parent


def told(stream, steps, before=lambda step: None):
    seen = []
    for step in steps:
        before(step)
        taken = stream.get(step)
        seen.append((taken.scan.digest, taken.tiles.tolist(), taken.pixels.copy()))
        stream.release(taken)
    return seen


def assert_same(one, other):
    assert [row[:2] for row in one] == [row[:2] for row in other]
    assert all(np.array_equal(mine[2], theirs[2]) for mine, theirs in zip(one, other, strict=True))


def step_of(plain, scan):
    """The first step from the fourth on that takes a scan, which no prefetching has touched at the first."""
    return next(step for step, row in enumerate(plain) if step > 3 and row[0] == scan.digest)


@pytest.fixture
def scans(slides):
    return tile_slides.all_scans(slides)


@pytest.fixture
def plain(make_stream, scans):
    """What an undisturbed training sees."""
    return told(make_stream(scans, book="other.jsonl"), range(12))


def victim(scans, plain):
    return next(scan for scan in scans if scan.digest == plain[5][0])


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(("spoil", "code"), [(Path.unlink, "PEL-SLIDE-001"), (truncate, "PEL-SLIDE-")])
def test_a_slide_lost_in_mid_epoch_is_recorded_replaced_and_replayed(
    make_stream, scans, plain, slides, tmp_path, spoil, code
):
    scan = victim(scans, plain)
    path = scan.entry.path
    shutil.copy(path, tmp_path / "safe.tif")

    def before(step):
        if step == 1:
            spoil(path)

    first = told(make_stream(scans), range(9), before)
    (failure, *others) = read_failures(tmp_path / "failures.jsonl")
    assert (failure.step, failure.epoch, failure.position, failure.attempt) == (5, 1, 2, 0)
    assert (failure.scan, failure.slide) == (scan.digest, path.stem)
    assert failure.code.startswith(code)
    assert first[5][0] != scan.digest
    assert_same(first[:5], plain[:5])
    shutil.copy(tmp_path / "safe.tif", path)
    again = make_stream(scans)
    assert_same(told(again, range(12))[:9], first)
    assert_same(told(make_stream(scans), range(4, 9)), first[4:9])
    assert read_failures(tmp_path / "failures.jsonl") == (failure, *others)


def test_the_failure_is_on_disk_before_the_substitute_is_used(make_stream, scans, plain, tmp_path):
    victim(scans, plain).entry.path.unlink()
    stream = make_stream(scans)
    book = tmp_path / "failures.jsonl"
    for step in range(5):
        stream.release(stream.get(step))
    assert not book.exists()
    taken = stream.get(5)
    assert read_failures(book) == taken.failures
    assert len(taken.failures) == 1
    assert taken.tiles.tolist() != plain[5][1]


def test_a_file_brought_back_with_the_same_bytes_is_taken_again(make_stream, scans, plain, tmp_path):
    """Another inode and another time, but the bytes that were surveyed."""
    path = victim(scans, plain).entry.path
    shutil.move(path, tmp_path / "away.tif")
    stream = make_stream(scans)
    stream.release(stream.get(0))
    shutil.copy(tmp_path / "away.tif", path)
    assert_same(told(stream, range(1, 12)), plain[1:])
    assert not (tmp_path / "failures.jsonl").exists()


def test_a_file_replaced_by_another_slide_fails(make_stream, scans, plain, tmp_path):
    path = victim(scans, plain).entry.path
    stream = make_stream(scans)
    stream.release(stream.get(0))
    tile_slides.write_slide(path, 99)
    told(stream, range(1, 6))
    assert [one.code for one in read_failures(tmp_path / "failures.jsonl")] == ["PEL-SLIDE-014"]


def test_storage_that_is_gone_ends_the_training_and_leaves_no_trace(make_stream, scans, plain, slides, tmp_path):
    stream = make_stream(scans, in_a_row=2)
    first = told(stream, range(2))
    slides.rename(tmp_path / "unmounted")
    with pytest.raises(SlidesFailing, match="2 slides in a row can't be read at step"):
        told(stream, range(2, 12))
    stream.close()
    (tmp_path / "unmounted").rename(slides)
    assert not (tmp_path / "failures.jsonl").exists()
    assert_same(first + told(make_stream(scans), range(2, 12)), plain)


def test_storage_that_comes_back_in_time_is_waited_for(make_stream, scans, plain, slides, tmp_path, monkeypatch):
    monkeypatch.setattr("pellucid.training.stream.stream._PAUSE_S", 1.0)
    stream = make_stream(scans, patience_s=300.0)
    first = told(stream, range(2))
    slides.rename(tmp_path / "unmounted")
    back = threading.Timer(3.0, lambda: (tmp_path / "unmounted").rename(slides))
    back.start()
    assert_same(first + told(stream, range(2, 12)), plain)
    back.join()
    assert not (tmp_path / "failures.jsonl").exists()


def test_unreadable_tiles_are_left_out_and_too_many_fail_the_slide(make_stream, tmp_path):
    few, many = (5,), range(25)
    folder = tmp_path / "spoilt"
    folder.mkdir()
    scans = tile_slides.all_scans(tile_slides.fill(folder, 4, s0=few, s1=many))
    stream = make_stream(scans, share=1.0, tiles=100, epochs=2)
    sizes = {}
    for step in range(4):
        taken = stream.get(step)
        sizes[taken.scan.entry.slide] = len(taken.tiles)
        assert len(taken.pixels) == len(taken.rows) == len(taken.chunks) == len(taken.tiles)
        assert (taken.pixels.reshape(len(taken.pixels), -1).max(axis=1) > 0).all()
        if taken.scan.entry.slide == "s0":
            # chunks stay those of the drawn tiles
            assert taken.n_chunks == 13
            assert len(set(taken.chunks.tolist())) <= 13
            assert np.bincount(taken.chunks).max() == 8 > np.bincount(taken.chunks).min()
        stream.release(taken)
    assert "s1" not in sizes
    assert 90 < sizes["s0"] < 100
    (failure,) = read_failures(tmp_path / "failures.jsonl")
    assert (failure.slide, failure.code) == ("s1", "PEL-TRAIN-041")


def test_a_reader_that_is_killed_is_replaced_and_the_slide_read_again(make_stream, scans, plain, tmp_path):
    stream = make_stream(scans, readers=2)
    taken = stream.get(0)
    before = taken.pixels.copy()
    stream.release(taken)
    seen = [(taken.scan.digest, taken.tiles.tolist(), before)]
    for step in range(1, 12):
        for pid in stream.reader_pids if step % 3 == 0 else ():
            os.kill(pid, signal.SIGKILL)
        seen += told(stream, [step])
    assert_same(seen, plain)
    assert not (tmp_path / "failures.jsonl").exists()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("kill", "SIGKILL"),
        pytest.param("segv", "SIGSEGV", marks=pytest.mark.slow),
        pytest.param("hang", "stalled", marks=pytest.mark.slow),
    ],
)
def test_a_slide_that_ends_every_reader_is_given_up_and_replayed_without_trying(
    make_stream, scans, plain, tmp_path, fault, cause
):
    path = victim(scans, plain).entry.path
    path.with_suffix(f".{fault}").touch()
    stream = make_stream(scans, readers=2, program="faulty_tile_reader", stall_s=2.0)
    seen = told(stream, range(8))
    (failure,) = read_failures(tmp_path / "failures.jsonl")
    assert (failure.slide, failure.code, failure.step) == (path.stem, "PEL-TRAIN-042", 5)
    assert "ended 3 processes" in failure.message
    assert cause in failure.message
    assert_same(seen[:5], plain[:5])
    path.with_suffix(f".{fault}").unlink()
    assert_same(told(make_stream(scans), range(8)), seen)


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_a_slide_that_ends_one_reader_is_read_again(make_stream, scans, plain, tmp_path, fault):
    path = victim(scans, plain).entry.path
    path.with_suffix(f".{fault}").touch()
    path.with_suffix(".once").touch()
    stream = make_stream(scans, readers=2, program="faulty_tile_reader", stall_s=2.0)
    assert_same(told(stream, range(12)), plain)
    assert not path.with_suffix(".once").exists()
    assert not (tmp_path / "failures.jsonl").exists()


def test_readers_end_with_a_training_that_is_killed(slides, tmp_path):
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "import tile_slides\n"
        "from pellucid.training.ranks import Ranks\n"
        "from pellucid.training.stream import FailureBook, StreamPlan, TileStream\n"
        "scans = tile_slides.all_scans(Path(sys.argv[1]))\n"
        "book = FailureBook(Path(sys.argv[2]), Ranks())\n"
        "plan = StreamPlan(tiles=40, chunk=8)\n"
        "stream = TileStream(scans, plan, spec=tile_slides.spec(), ranks=Ranks(), failures=book, readers=2)\n"
        "stream.get(0)\n"
        "print(*stream.reader_pids, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(slides), str(tmp_path / "book.jsonl")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(TESTS)})
    try:
        pids = parent.stdout.readline().split()
        assert len(pids) == 2
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a reader outlived its training"
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
