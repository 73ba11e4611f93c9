"""A snapshot survives the way through its file, and says honestly what a kill would cost."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.core.errors import StorageFull
from pellucid.core.serial import from_plain, to_plain
from pellucid.engine.snapshot import (
    EngineSnapshot,
    EngineState,
    ProcessState,
    RestartCause,
    Restarts,
    ScanProgress,
    Slots,
    WaitedFor,
    ended,
    lost_if_killed,
    read_snapshot,
    restart_cause,
    write_snapshot,
)

FULL = EngineSnapshot(
    at=1_700_000_000.25,
    run_id="run-1",
    owner="host:1:abc-1-2",
    state=EngineState.PAUSED,
    paused_because="the disk is full",
    device_busy_share=0.91,
    device_busy_share_run=0.87,
    waited_for={WaitedFor.TILES: 3.5, WaitedFor.DATABASE: 0.25},
    slots=Slots(free=2, filling=1, ready=3, at_device=1),
    tiles_per_s=512.5,
    slides_per_h=31.0,
    readers=5,
    readers_target=6,
    restarts=(Restarts(role="reader", cause=RestartCause.SIGSEGV, count=2),),
    queue={"queued": 4, "leased": 2, "backoff": 1},
    oldest_waiting_s=60.0,
    oldest_stat_s=2.0,
    scans=(ScanProgress(name="F-00000001", stage="read", tiles_total=100, tiles_done=40, tiles_durable=32),),
    processes=(ProcessState(role="reader", number=1, pid=42, rss_bytes=1 << 28, n_files=12, cpu_s=7.5, doing="tiles"),),
    lost_if_killed="nothing",
)


@pytest.mark.parametrize(
    "snapshot", [FULL, EngineSnapshot(at=0.0, run_id="r", owner="o", state=EngineState.STARTING)], ids=["full", "bare"]
)
def test_a_snapshot_comes_back_as_it_was(tmp_path: Path, snapshot: EngineSnapshot) -> None:
    write_snapshot(tmp_path / "status.json", snapshot)

    assert read_snapshot(tmp_path / "status.json") == snapshot
    assert from_plain(EngineSnapshot, json.loads(json.dumps(to_plain(snapshot)))) == snapshot


def test_a_later_snapshot_replaces_the_former_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    for number in range(3):
        write_snapshot(path, replace(FULL, readers=number))

    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]
    assert read_snapshot(path) == replace(FULL, readers=2)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"at": 1}', b'{"at": "soon", "run_id": 3}'])
def test_a_damaged_or_foreign_file_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)

    assert read_snapshot(tmp_path / "status.json") is None


def test_an_absent_file_is_no_snapshot(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path / "status.json") is None


def test_a_full_disk_is_a_coded_error(tmp_path: Path) -> None:
    (tmp_path / f".status.json.{os.getpid()}.part").symlink_to("/dev/full")

    with pytest.raises(StorageFull):
        write_snapshot(tmp_path / "status.json", FULL)
    assert list(tmp_path.iterdir()) == []


def test_age_is_never_negative() -> None:
    assert FULL.age_s(FULL.at + 2.5) == 2.5
    assert FULL.age_s(FULL.at - 100) == 0.0


def test_what_a_kill_and_a_power_cut_lose_is_told_apart() -> None:
    scans = [
        ScanProgress(name="F-1", stage="read", tiles_total=99, tiles_done=40, tiles_durable=32, tiles_in_flight=7),
        ScanProgress(name="F-2", stage="read", tiles_total=99, tiles_done=5, tiles_durable=5, tiles_in_flight=3),
    ]

    assert "a kill now loses 10 tiles, a power cut 18 tiles" in lost_if_killed(scans)
    assert "loses no tile, a power cut 1 tile;" in lost_if_killed(
        [ScanProgress(name="F-1", stage="passes", tiles_done=2, tiles_durable=1)]
    )
    assert "Nothing is in hand" in lost_if_killed([])


@pytest.mark.parametrize(
    ("cause", "label"),
    [
        ("SIGSEGV", "SIGSEGV"),
        ("SIGUSR1", "other_signal"),
        ("exit 1", "exit"),
        ("out of memory (SIGKILL, the kernel's OOM counter of the cgroup rose)", "out_of_memory"),
        ("killed: stalled for 60 s", "stalled"),
        ("killed: recycled after 500 scans", "recycled"),
        ("killed: somebody asked", "other"),
        ("SIGKILL", "SIGKILL"),
        ("unkillable", "unkillable"),
        ("", "other"),
    ],
)
def test_every_cause_of_an_ending_has_a_label(cause: str, label: str) -> None:
    assert restart_cause(cause).value == label


def test_the_last_snapshot_keeps_the_run_s_figures_and_holds_nothing() -> None:
    last = ended(FULL)

    assert last.state is EngineState.ENDED
    assert (last.scans, last.processes, last.paused_because) == ((), (), None)
    assert (last.restarts, last.waited_for, last.queue) == (FULL.restarts, FULL.waited_for, FULL.queue)
    assert last.at > FULL.at
    assert "Nothing is in hand" in last.lost_if_killed
