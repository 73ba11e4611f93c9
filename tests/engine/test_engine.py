"""The engine with real processes and real files; only the encoder is a plain sum of pixels."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.core.errors import StorageFull
from pellucid.engine.batches import SlotState
from pellucid.engine.config import Modules
from pellucid.engine.ends import LeaseGone, NoTissue
from pellucid.engine.engine import Engine
from pellucid.engine.messages import Role
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
    return write_large_slide(tmp_path_factory.mktemp("slides") / "scan.svs", 2560, 2560, 1)


@pytest.fixture
def scans_named(scan: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    def copy(*names: str) -> list[Path]:
        return [Path(shutil.copyfile(scan, tmp_path / f"{name}.svs")) for name in names]

    return copy


@pytest.fixture(scope="module")
def tiles(scan: Path) -> np.ndarray:
    """The scan's tiles by the plain way, in the grid's order."""
    with open_slide(scan) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=224, mpp=0.5)
        return np.concatenate([batch.pixels.copy() for batch in read_tiles(slide, grid, batch_size=16)])


@pytest.fixture(scope="module")
def expected(tiles: np.ndarray) -> np.ndarray:
    """The scan's features by the plain way: one tile after the other, in one process."""
    from sums import Sums  # type: ignore[import-not-found]

    return Sums().encode(tiles).astype(np.float16)


def digest_of(tile: np.ndarray) -> str:
    import hashlib

    return hashlib.sha256(tile.tobytes()).hexdigest()[:16]


def test_every_scan_ends_once_with_the_features_of_the_plain_way(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    paths = scans_named(*"abcde")
    ledger = MemoryLedger([work_of(path) for path in paths])
    events = Watched()
    engine = run(ledger, tmp_path, sums(), events=events)
    assert set(ledger.answers) == {path.name for path in paths}
    for name, answer in ledger.answers.items():
        np.testing.assert_array_equal(ledger.features[name], expected)
        assert answer.seen.n_tiles == len(expected)
        assert {"thumbnail", "tissue", "tiles", "top_tile_1"} <= set(answer.seen.pictures)
        assert {"open", "tissue", "quality", "read", "encode", "passes", "artefacts"} <= set(answer.seconds)
    assert events.n_tiles == 5 * len(expected)
    assert engine.batches.count(SlotState.FREE) == 4
    assert not list((tmp_path / "checkpoints").iterdir())


def test_batches_are_filled_across_scans(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    """Were each scan's last batch sent alone, there would be one more batch a scan than their tiles fill."""
    assert len(expected) % 8, "the scan's tiles must not fill whole batches"
    paths = scans_named(*"abcdef")
    encoded = []
    rates = []

    def look(engine: Engine) -> None:
        rates[:] = [engine.rates]

    class Counting(Watched):
        def tiles(self, number: int) -> None:
            super().tiles(number)
            encoded.append(number)

    run(MemoryLedger([work_of(path) for path in paths]), tmp_path, sums(), events=Counting(on_beat=look), readers=1)
    by_scan = 6 * -(-len(expected) // 8)
    assert sum(encoded) == 6 * len(expected)
    shared = [number for number in encoded if number < 8]
    assert len(shared) < by_scan


def test_embeddings_alone_when_there_is_no_sampler(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    [path] = scans_named("only")
    ledger = MemoryLedger([work_of(path)])
    run(ledger, tmp_path, sums(passes=False))
    assert ledger.answers[path.name].passes is None
    np.testing.assert_array_equal(ledger.features[path.name], expected)


def test_a_scan_that_kills_its_reader_is_quarantined_and_the_others_are_not(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    names = ["a", "segv", "b", "kill", "c", "early"]
    ledger = MemoryLedger([work_of(path) for path in scans_named(*names)])
    engine = run(ledger, tmp_path, sums(), modules=FAULTY)
    assert set(ledger.quarantine) == {"segv.svs", "kill.svs", "early.svs"}
    assert "SIGSEGV" in ledger.quarantine["segv.svs"]
    assert "3 times" in ledger.quarantine["kill.svs"]
    assert set(ledger.answers) == {"a.svs", "b.svs", "c.svs"}
    for name in ledger.answers:
        np.testing.assert_array_equal(ledger.features[name], expected)
    deaths = sum(n for (role, _), n in engine.crew.restarts.items() if role == "reader")
    assert 9 <= deaths <= 18, "three times the same job, and jobs of that scan that others had begun meanwhile"
    assert engine.batches.count(SlotState.FREE) == 4


def test_a_death_that_does_not_come_back_costs_nothing(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    names = ["segv-once", "kill-once", "hang-once", "early-once"]
    ledger = MemoryLedger([work_of(path) for path in scans_named(*names)])
    engine = run(ledger, tmp_path, sums(), modules=FAULTY, stall_s=2.0)
    assert set(ledger.answers) == {f"{name}.svs" for name in names}
    assert not ledger.quarantine
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)
    causes = [cause for (_, cause), number in engine.crew.restarts.items() for _ in range(number)]
    assert any("stalled" in cause for cause in causes)
    assert len(causes) == 4


def test_a_tile_that_kills_the_device_is_blamed_on_its_scan_alone(
    scans_named: Callable[..., list[Path]], scan: Path, tiles: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    """The poisoned scan shares its batches with the others; they are embedded again one by one."""
    other = write_large_slide(tmp_path / "poisoned.svs", 2560, 2560, 2)
    with open_slide(other) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=224, mpp=0.5)
        poison = digest_of(next(read_tiles(slide, grid, batch_size=1)).pixels[0])
    assert poison not in {digest_of(tile) for tile in tiles}
    a, b = scans_named("a", "b")
    ledger = MemoryLedger([work_of(path) for path in (a, other, b)])
    engine = run(ledger, tmp_path, sums(poison=(poison,)))
    assert set(ledger.quarantine) == {"poisoned.svs"}
    assert set(ledger.answers) == {"a.svs", "b.svs"}
    for features in ledger.features.values():
        np.testing.assert_array_equal(features, expected)
    deaths = sum(number for (role, _), number in engine.crew.restarts.items() if role == "device")
    assert 3 <= deaths <= 4
    assert engine.batches.count(SlotState.FREE) == 4


def test_a_scan_that_kills_the_posterior_process_is_quarantined(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    [path] = scans_named("large")
    small = write_large_slide(tmp_path / "small.svs", 2048, 2048, 1)
    ledger = MemoryLedger([work_of(path), work_of(small)])
    with open_slide(small) as slide:
        n_small = len(lay_grid(slide.info, find_tissue(slide), tile_px=224, mpp=0.5))
    run(ledger, tmp_path, sums(sampler={"die_above": n_small}))
    assert set(ledger.quarantine) == {"large.svs"}
    assert set(ledger.answers) == {"small.svs"}


def test_features_that_are_no_numbers_fail_their_scan_only(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    other = write_large_slide(tmp_path / "nan.svs", 2560, 2560, 2)
    with open_slide(other) as slide:
        grid = lay_grid(slide.info, find_tissue(slide), tile_px=224, mpp=0.5)
        tile = digest_of(next(read_tiles(slide, grid, batch_size=1)).pixels[0])
    ledger = MemoryLedger([work_of(path) for path in (*scans_named("a"), other, *scans_named("b"))])
    run(ledger, tmp_path, sums(nan=(tile,)))
    assert {name: error.code for name, error in ledger.errors.items()} == {"nan.svs": "PEL-MODEL-005"} or set(
        ledger.errors
    ) == {"nan.svs"}
    assert set(ledger.answers) == {"a.svs", "b.svs"}


def test_bad_files_in_the_middle_end_with_their_own_errors(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    empty, text = tmp_path / "empty.svs", tmp_path / "text.svs"
    empty.touch()
    text.write_text("not a slide")
    good = scans_named("a", "b")
    ledger = MemoryLedger([work_of(p) for p in (good[0], empty, text, tmp_path / "absent.svs", good[1])])
    run(ledger, tmp_path, sums())
    codes = {name: error.code for name, error in ledger.errors.items()}
    assert set(codes) == {"empty.svs", "text.svs", "absent.svs"}
    assert len(set(codes.values())) == 3
    assert set(ledger.answers) == {"a.svs", "b.svs"}


def test_a_scan_without_tissue_is_looked_at_and_has_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "glass.tif"
    glass = np.full((2048, 2048, 3), 244, np.uint8)
    tifffile.imwrite(
        path, glass, tile=(256, 256), photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER"
    )
    ledger = MemoryLedger([work_of(path)])
    run(ledger, tmp_path, sums())
    assert isinstance(ledger.errors[path.name], NoTissue)
    seen = ledger.accounts[path.name].seen
    assert seen is not None
    assert "thumbnail" in seen.pictures


def test_a_kill_of_everything_resumes_at_the_last_batch(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    """The engine is left without a word once most tiles are embedded, as a killed one would be."""

    class Killed(BaseException):
        pass

    [path] = scans_named("a")

    def strike(n_tiles: int) -> None:
        if n_tiles >= 0.6 * len(expected):
            raise Killed

    with pytest.raises(Killed):
        run(MemoryLedger([work_of(path)]), tmp_path, sums(), events=Watched(on_tiles=strike))
    again = Watched()
    ledger = MemoryLedger([work_of(path)])
    run(ledger, tmp_path, sums(), events=again)
    np.testing.assert_array_equal(ledger.features[path.name], expected)
    assert ledger.answers[path.name].circumstances["resumed"].startswith("at tile")


def test_asked_to_stop_it_finishes_what_it_has_and_gives_back_the_rest(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    stop = Stop()
    ledger = MemoryLedger([work_of(path) for path in scans_named(*"abcdefgh")])

    def ask(_work: object) -> None:
        stop.asked = True

    ledger.on_end = ask
    run(ledger, tmp_path, sums(), stop=stop)
    assert ledger.answers
    assert ledger.todo, "all were claimed"
    assert len(ledger.released) <= 1, "only one that was being claimed at that moment"
    assert len(ledger.answers) + len(ledger.todo) + len(ledger.released) == 8


def test_asked_twice_it_gives_everything_back_at_once(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    stop = Stop()
    ledger = MemoryLedger([work_of(path) for path in scans_named("slow-a", "slow-b", "slow-c")])

    def ask(_n: int) -> None:
        stop.asked = stop.now = True

    run(ledger, tmp_path, sums(), stop=stop, events=Watched(on_tiles=ask), modules=FAULTY)
    assert ledger.released
    assert not ledger.errors
    assert len(ledger.released) + len(ledger.answers) + len(ledger.todo) == 3


def test_a_grace_that_runs_out_gives_back_what_hangs(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    stop = Stop(asked=False)
    ledger = MemoryLedger([work_of(path) for path in scans_named("hang")])

    def ask(_engine: Engine) -> None:
        stop.asked = True

    begun = time.monotonic()
    run(ledger, tmp_path, sums(), stop=stop, events=Watched(on_beat=ask), modules=FAULTY, grace_s=1.0, stall_s=60.0)
    assert ledger.released == ["hang.svs"]
    assert time.monotonic() - begun < 30


def test_a_full_disk_is_waited_for(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    times = []

    def trouble(_work: object) -> None:
        times.append(time.monotonic())
        if len(times) < 3:
            raise StorageFull("No space is left.")

    events = Watched()
    ledger = MemoryLedger([work_of(path) for path in scans_named("a", "b")], trouble=trouble)
    run(ledger, tmp_path, sums(), events=events)
    assert set(ledger.answers) == {"a.svs", "b.svs"}
    assert events.pauses == ["PEL-CORE-001", None]


def test_a_full_disk_that_stays_full_ends_the_run_with_its_error(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    def trouble(_work: object) -> None:
        raise StorageFull("No space is left.")

    ledger = MemoryLedger([work_of(path) for path in scans_named("a")], trouble=trouble)
    with pytest.raises(StorageFull):
        run(ledger, tmp_path, sums(), patience_s=1.0)
    assert ledger.released == ["a.svs"]


def test_a_lost_lease_ends_the_work_without_a_word(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    def trouble(work: object) -> None:
        if work.name == "a.svs":  # type: ignore[attr-defined]
            raise LeaseGone("Somebody else has it.")

    ledger = MemoryLedger([work_of(path) for path in scans_named("a", "b")], trouble=trouble)
    run(ledger, tmp_path, sums())
    assert set(ledger.answers) == {"b.svs"}
    assert not ledger.released


def test_a_lease_that_is_lost_on_the_way_drops_the_scan(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    ledger = MemoryLedger([work_of(path) for path in scans_named("slow-a", "b")], lost={"slow-a.svs"})
    engine = run(ledger, tmp_path, sums(sleep_s=0.3), modules=FAULTY, lease_s=1.5)
    assert set(ledger.answers) == {"b.svs"}
    assert engine.batches.count(SlotState.FREE) == 4


def test_one_that_must_be_alone_has_nothing_beside_it(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    a, suspect, b = scans_named("a", "suspect", "b")
    in_hand = []

    class Looking(Watched):
        def started(self, scan: str) -> None:
            super().started(scan)
            in_hand.append((scan, ledger.in_hand))

    ledger = MemoryLedger([work_of(a), work_of(suspect, alone=True), work_of(b)])
    run(ledger, tmp_path, sums(), events=Looking())
    assert dict(in_hand)["suspect.svs"] == 1
    assert dict(in_hand)["b.svs"] == 1
    assert set(ledger.answers) == {"a.svs", "suspect.svs", "b.svs"}


def test_an_urgent_scan_is_read_before_those_already_in_hand(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    a, b, urgent = scans_named("slow-a", "slow-b", "slow-urgent")
    ledger = MemoryLedger([work_of(a), work_of(b), work_of(urgent, priority=1000)])
    run(ledger, tmp_path, sums(), modules=FAULTY, readers=1, open_scans=3)
    assert ledger.order.index("slow-urgent.svs") < ledger.order.index("slow-b.svs")


def test_files_are_identified_beside_the_work(scans_named: Callable[..., list[Path]], tmp_path: Path) -> None:
    paths = scans_named("a", "b")
    ledger = MemoryLedger([work_of(paths[0])], files=[*paths, tmp_path / "absent.svs"])
    run(ledger, tmp_path, sums())
    assert ledger.identities[paths[0]][0].digest == ledger.identities[paths[1]][0].digest
    assert ledger.identities[tmp_path / "absent.svs"].code == "PEL-SLIDE-001"


def test_a_reader_killed_from_outside_is_replaced_within_two_seconds(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    killed: list[float] = []
    replaced: list[float] = []

    def beat(engine: Engine) -> None:
        [reader] = list(engine.crew.of(Role.READER)) or [None]
        if reader is None or not reader.ready or reader.child is None or killed:
            return
        os.kill(reader.child.pid, signal.SIGKILL)
        killed.append(time.monotonic())
        threading.Thread(target=watch, args=(engine, reader.child.pid), daemon=True).start()

    def watch(engine: Engine, pid: int) -> None:
        while not replaced:
            ready = [m for m in list(engine.crew.members) if m.role is Role.READER and m.ready]
            if ready and ready[0].child is not None and ready[0].child.pid != pid:
                replaced.append(time.monotonic())
            time.sleep(0.01)

    names = [f"slow-{letter}" for letter in "abcd"]
    ledger = MemoryLedger([work_of(path) for path in scans_named(*names)])
    run(ledger, tmp_path, sums(), events=Watched(on_beat=beat), readers=1, max_readers=1, modules=FAULTY)
    assert set(ledger.answers) == {f"{name}.svs" for name in names}
    assert replaced[0] - killed[0] < 10, "not a measurement: that is the benchmark's"


def test_readers_are_recycled_without_a_trace(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    ledger = MemoryLedger([work_of(path) for path in scans_named(*"abcdef")])
    before = len(list(Path("/proc/self/fd").iterdir()))
    engine = run(ledger, tmp_path, sums(sleep_s=0.05), recycle_jobs=3)
    assert set(ledger.answers) == {f"{name}.svs" for name in "abcdef"}
    assert engine.crew.restarts[("reader", "recycled")] >= 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_model_that_cannot_be_made_ends_the_run_with_the_reason(
    scans_named: Callable[..., list[Path]], tmp_path: Path
) -> None:
    from dataclasses import replace

    from pellucid.engine.errors import ModelUnavailable
    from pellucid.engine.messages import Factory

    models = replace(sums(), devices=(Factory(path="sums:nothing"),))
    ledger = MemoryLedger([work_of(path) for path in scans_named("a")])
    with pytest.raises(ModelUnavailable):
        run(ledger, tmp_path, models)
    assert not ledger.errors


def test_it_runs_where_an_event_loop_runs_already(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    """As in a notebook."""
    import asyncio

    ledger = MemoryLedger([work_of(path) for path in scans_named("a")])

    async def cell() -> None:
        run(ledger, tmp_path, sums())

    asyncio.run(cell())
    np.testing.assert_array_equal(ledger.features["a.svs"], expected)


def test_embeddings_made_with_another_number_of_threads_are_not_mixed_in(
    scans_named: Callable[..., list[Path]], expected: np.ndarray, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def strike(n_tiles: int) -> None:
        if n_tiles >= 0.5 * len(expected):
            raise Killed

    [path] = scans_named("a")
    with pytest.raises(Killed):
        run(MemoryLedger([work_of(path)]), tmp_path, sums(), events=Watched(on_tiles=strike))
    ledger = MemoryLedger([work_of(path)])
    run(ledger, tmp_path, sums(), device_threads=2)
    assert "resumed" not in ledger.answers[path.name].circumstances
