"""The engine when what is around it fails: ledger, disk, storage, leases, and the machine itself."""

import hashlib
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.core.errors import StorageFull
from pellucid.engine.batches import SlotState
from pellucid.engine.config import Modules
from pellucid.engine.engine import Engine
from pellucid.engine.messages import ReadTiles, Role
from pellucid.slides import find_tissue, lay_grid, open_slide, read_tiles

PARTS = Path(__file__).parent / "parts"
sys.path[:0] = [str(PARTS), str(Path(__file__).parent)]

from ledgers import MemoryLedger, Stop, Watched, run, sums, work_of  # type: ignore[import-not-found]  # noqa: E402

FAULTY = Modules(reader="faulty_reader")


@pytest.fixture(autouse=True)
def parts_for_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PARTS))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_large_slide(tmp_path_factory.mktemp("slides") / "scan.svs", 2048, 2048, 1)


@pytest.fixture
def scans_named(scan: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    def copy(*names: str) -> list[Path]:
        return [Path(shutil.copyfile(scan, tmp_path / f"{name}.svs")) for name in names]

    return copy


def tiles_of(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=224, mpp=0.5)
        return np.concatenate([batch.pixels.copy() for batch in read_tiles(slide, grid, batch_size=16)])


@pytest.fixture(scope="module")
def expected(scan: Path) -> np.ndarray:
    from sums import Sums  # type: ignore[import-not-found]

    return Sums().encode(tiles_of(scan)).astype(np.float16)


def full(_work: object) -> None:
    raise StorageFull("No space is left.")


def reader_at_tiles(engine: Engine) -> Any:
    """A reader that has tiles to read."""
    readers = (one for one in engine.crew.of(Role.READER) if one.hand and isinstance(one.hand[0].job, ReadTiles))
    return next(readers, None)


# The ledger


def test_a_pause_is_not_over_because_another_call_gets_through(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """The results' disk is full while the database prolongs leases: the patience must come to its end."""
    events = Watched()
    ledger = MemoryLedger([work_of(path) for path in scans_named("a")], trouble=full)
    with pytest.raises(StorageFull):
        run(ledger, tmp_path, sums(), events=events, patience_s=4.0, lease_s=1.5)
    assert events.pauses == ["PEL-CORE-001"]


def test_an_end_that_makes_new_work_is_not_overlooked(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    """The ledger said that nothing more comes while the last scan was in hand; its end brought another."""
    first, second = scans_named("a", "b")
    ledger = MemoryLedger([work_of(first)])

    def more(_work: object) -> None:
        if second is not None and "b.svs" not in ledger.order:
            ledger.todo.append(work_of(second))
        ledger.on_end = None

    ledger.on_end = more
    run(ledger, tmp_path, sums(), lease_s=1.0)
    assert set(ledger.answers) == {"a.svs", "b.svs"}


def test_a_place_that_is_gone_does_not_hold_up_the_end(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    stop = Stop()

    def gone(_work: object) -> None:
        stop.asked = True
        raise StorageFull("No space is left.")

    ledger = MemoryLedger([work_of(path) for path in scans_named("a")], trouble=gone)
    begun = time.monotonic()
    with pytest.raises(StorageFull):
        run(ledger, tmp_path, sums(), stop=stop, grace_s=1.0)
    assert time.monotonic() - begun < 25
    assert ledger.released == ["a.svs"]


@pytest.mark.slow
def test_a_ledger_that_never_answers_again_does_not_hold_up_the_end(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    stop, hour = Stop(), threading.Event()

    def hang(_work: object) -> None:
        stop.asked = stop.now = True
        hour.wait()

    ledger = MemoryLedger([work_of(path) for path in scans_named("a")], trouble=hang)
    begun = time.monotonic()
    run(ledger, tmp_path, sums(), stop=stop)
    hour.set()
    assert time.monotonic() - begun < 60
    assert not ledger.released


def test_one_lease_that_is_gone_keeps_no_other_from_being_given_back(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    from pellucid.engine.ends import LeaseGone

    stop = Stop()

    class Strict(MemoryLedger):
        def release(self, work: Any) -> None:
            if work.name == "slow-a.svs":
                raise LeaseGone("Somebody else has it.")
            super().release(work)

    ledger = Strict([work_of(path) for path in scans_named("slow-a", "slow-b")])

    def beat(engine: Engine) -> None:
        stop.asked = stop.now = len(engine.scans) == 2

    run(ledger, tmp_path, sums(), stop=stop, events=Watched(on_beat=beat), modules=FAULTY)
    assert ledger.released == ["slow-b.svs"]


def test_a_scan_claimed_again_after_its_lease_was_lost_ends_once(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    """What is still under way for its first claim must not be taken for its second."""

    class Forgetful(MemoryLedger):
        def keep(self, works: Any, progressed: Any) -> set[str]:
            lost = [work for work in works if work.name in self.lost]
            self.lost -= {work.name for work in lost}
            self.todo[:0] = lost
            return {work.key for work in lost}

    paths = scans_named("slow-a", "slow-b")
    ledger = Forgetful([work_of(path) for path in paths], lost={"slow-a.svs"})
    events = Watched()
    engine = run(ledger, tmp_path, sums(sleep_s=0.2), events=events, modules=FAULTY, lease_s=3.0)
    assert events.started_.count("slow-a.svs") == 2
    assert set(ledger.answers) == {"slow-a.svs", "slow-b.svs"}
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)
    assert engine.batches.count(SlotState.FREE) == 4


# The disk


def test_embeddings_that_the_disk_refuses_for_a_while_are_written_once(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    refused: list[int] = []
    beats: list[int] = []

    def refuse(n_tiles: int) -> None:
        if n_tiles and not refused:
            most = max(path.stat().st_size for path in (tmp_path / "checkpoints").iterdir())
            refused.append(most)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))

    def relent(_engine: Engine) -> None:
        beats.extend([len(events.pauses)] if events.pauses else [])
        if len(beats) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    events = Watched(on_tiles=refuse, on_beat=relent)
    ledger = MemoryLedger([work_of(path) for path in scans_named("a", "b")])
    try:
        run(ledger, tmp_path, sums(), events=events)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert events.pauses == ["PEL-ENGINE-011", None]
    for name in ("a.svs", "b.svs"):
        np.testing.assert_array_equal(ledger.features[name], expected)
    assert events.n_tiles == 2 * len(expected)


# Processes


def test_a_tile_that_the_encoder_refuses_fails_its_scan_alone(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    other = write_large_slide(tmp_path / "refused.svs", 2048, 2048, 2)
    tile = hashlib.sha256(tiles_of(other)[0].tobytes()).hexdigest()[:16]
    a, b = scans_named("a", "b")
    ledger = MemoryLedger([work_of(path) for path in (a, other, b)])
    run(ledger, tmp_path, sums(refuse=(tile,)), readers=1)
    assert set(ledger.errors) == {"refused.svs"}
    assert set(ledger.answers) == {"a.svs", "b.svs"}
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)


def test_what_a_process_that_cannot_be_killed_writes_at_last_harms_nobody(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    """It is given up, its tiles are read elsewhere, and seconds later it writes to the places it once had."""
    given_up: list[int] = []
    abandoned: list[int] = []

    def beat(engine: Engine) -> None:
        abandoned.append(engine.batches.count(SlotState.ABANDONED))
        for member in engine.crew.of(Role.READER):
            job = member.hand[0].job if member.hand else None
            if not given_up and isinstance(job, ReadTiles) and job.file.path.with_suffix(".happened").exists():
                given_up.append(member.child.pid)
                member.child._give_up()

    names = ["late-once", "slow-a", "slow-b", "slow-c", "slow-d"]
    ledger = MemoryLedger([work_of(path) for path in scans_named(*names)])
    engine = run(ledger, tmp_path, sums(), events=Watched(on_beat=beat), modules=FAULTY, stall_s=60.0)
    assert given_up
    assert max(abandoned) > 0
    assert set(ledger.answers) == {f"{name}.svs" for name in names}
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)
    assert engine.batches.count(SlotState.FREE) == 4, "they are of use again once the process is gone"


def test_storage_that_hangs_for_all_is_waited_for_and_blamed_on_no_scan(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    frost = tmp_path / "frost"
    frost.touch()
    events = Watched()
    paths = scans_named("frozen-a", "frozen-b")

    def beat(engine: Engine) -> None:
        hangs = sum(number for (_, cause), number in engine.crew.restarts.items() if cause == "stalled")
        if hangs >= 8:
            frost.unlink(missing_ok=True)

    events.on_beat = beat
    ledger = MemoryLedger([work_of(path) for path in paths])
    try:
        run(ledger, tmp_path, sums(), events=events, modules=FAULTY, stall_s=1.0)
    finally:
        for path in paths:
            os.close(os.open(path.with_suffix(".fifo"), os.O_RDWR | os.O_NONBLOCK))
    assert not ledger.quarantine
    assert events.pauses[0] == "PEL-ENGINE-013"
    assert events.pauses[-1] is None
    assert set(ledger.answers) == {"frozen-a.svs", "frozen-b.svs"}
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)


def test_a_scan_that_hangs_in_the_system_while_others_are_read_is_quarantined(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    (tmp_path / "frost").touch()
    paths = scans_named("frozen-a", "slow-b", "slow-c")
    ledger = MemoryLedger([work_of(path) for path in paths])
    try:
        run(ledger, tmp_path, sums(), modules=FAULTY, stall_s=1.0, readers=1)
    finally:
        os.close(os.open(paths[0].with_suffix(".fifo"), os.O_RDWR | os.O_NONBLOCK))
    assert set(ledger.quarantine) == {"frozen-a.svs"}
    assert set(ledger.answers) == {"slow-b.svs", "slow-c.svs"}


def test_a_machine_that_slept_finds_no_process_guilty_of_it(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """Supervisor and reader are suspended together; the reader comes back a little later."""
    stopped: list[int] = []

    def beat(engine: Engine) -> None:
        member = reader_at_tiles(engine)
        if stopped or member is None:
            return
        stopped.append(member.child.pid)
        os.kill(member.child.pid, signal.SIGSTOP)
        time.sleep(6.0)
        threading.Timer(1.7, os.kill, (member.child.pid, signal.SIGCONT)).start()

    ledger = MemoryLedger([work_of(path) for path in scans_named("slow-a")])
    engine = run(ledger, tmp_path, sums(), events=Watched(on_beat=beat), modules=FAULTY, readers=1, stall_s=5.0)
    assert stopped
    assert not engine.crew.restarts
    assert set(ledger.answers) == {"slow-a.svs"}


def test_readers_are_recycled_under_load(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    """A reader that always has another job in hand is let go all the same."""
    ledger = MemoryLedger([work_of(path) for path in scans_named("slow-a", "slow-b", "slow-c")])
    engine = run(ledger, tmp_path, sums(), modules=FAULTY, readers=1, max_readers=1, recycle_jobs=5)
    assert set(ledger.answers) == {"slow-a.svs", "slow-b.svs", "slow-c.svs"}
    assert engine.crew.restarts[("reader", "recycled")] >= 2


def test_a_device_that_never_does_a_job_ends_the_run_and_not_one_scan_after_the_other(
    scans_named: Callable[..., list[Path]], scan: Path, tmp_path: Path
) -> None:
    from pellucid.engine.ends import ProcessesDie

    poison = tuple(hashlib.sha256(tile.tobytes()).hexdigest()[:16] for tile in tiles_of(scan))
    ledger = MemoryLedger([work_of(path) for path in scans_named(*"abcdefgh")])
    with pytest.raises(ProcessesDie, match="device"):
        run(ledger, tmp_path, sums(poison=poison))
    assert len(ledger.quarantine) <= 2
    assert ledger.released


# What is seen of it


def test_a_device_at_a_long_batch_counts_as_busy(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    seen: list[tuple[float, int]] = []
    events = Watched(on_beat=lambda engine: seen.append((engine.rates.busy_s, events.n_tiles)))
    run(MemoryLedger([work_of(path) for path in scans_named("a")]), tmp_path, sums(sleep_s=2.5), events=events)
    assert any(busy_s > 0.5 and n_tiles == 0 for busy_s, n_tiles in seen)


def test_the_next_scan_is_looked_at_before_the_tiles_of_this_one_run_out(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """Reading, not the device, is what takes long: there is always another job in each reader's hand."""
    ledger = MemoryLedger([work_of(path) for path in scans_named("slow-a", "slow-b", "slow-c")])
    run(ledger, tmp_path, sums(), modules=FAULTY, readers=2, open_scans=2, n_slots=16)
    spans = {name: answer.trace.spans for name, answer in ledger.answers.items()}
    assert all({"prepare", "read", "encode", "passes", "pictures"} <= {one.name for one in of} for of in spans.values())
    begins = {name: min(one.start for one in of if one.name == "prepare") for name, of in spans.items()}
    ends = {name: max(one.end for one in of if one.name == "read") for name, of in spans.items()}
    assert all(begins[later] < ends[earlier] for earlier, later in pairwise(sorted(begins, key=begins.__getitem__)))
