"""The live view, rendered as text: everything that matters stands on it, at 80 and at 120 columns."""

import io
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from rich.console import Console

from pellucid.cli.live import Ended, LiveView, Scene, line, render
from pellucid.core.errors import StorageFull
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
)

SCANS = (
    ScanProgress(
        name="F-7K3QW9TD",
        stage="tiles",
        tiles_total=18432,
        tiles_done=9216,
        tiles_durable=9000,
        tiles_in_flight=512,
        started_s=73,
        durable_s=4,
        stat=True,
    ),
    ScanProgress(name="F-0000000B", stage="passes", tiles_total=700, tiles_done=700, tiles_durable=700, alone=True),
)
SNAPSHOT = EngineSnapshot(
    at=1_700_000_000.0,
    run_id="20261123T101500-ab12",
    owner="host:1:a-1-2",
    state=EngineState.RUNNING,
    device_busy_share=0.91,
    device_busy_share_run=0.87,
    waited_for={WaitedFor.TILES: 12.0, WaitedFor.DATABASE: 0.01},
    slots=Slots(free=2, filling=1, ready=4, at_device=1),
    tiles_per_s=512.4,
    slides_per_h=31.25,
    readers=5,
    readers_target=6,
    restarts=(Restarts(role="reader", cause=RestartCause.SIGSEGV, count=2),),
    queue={"queued": 41, "leased": 2, "backoff": 1, "quarantined": 0},
    oldest_waiting_s=3700,
    oldest_stat_s=4,
    scans=SCANS,
    processes=(
        ProcessState(role="supervisor", number=0, pid=4100, rss_bytes=310_000_000, n_files=41, cpu_s=9),
        ProcessState(
            role="reader", number=17, pid=4117, rss_bytes=1_520_000_000, n_files=12, cpu_s=300, doing="ReadTiles " * 9
        ),
    ),
    lost_if_killed=lost_if_killed(SCANS),
)
SCENE = Scene(
    snapshot=SNAPSHOT,
    hashed=(40, 52),
    waiting=52,
    known=3,
    done=8,
    failed=1,
    tiles=81_000,
    elapsed_s=754,
    ends=(
        Ended(scan="F-0000000A", probability=0.42, code=None),
        Ended(scan="F-0000000C", probability=None, code="PEL-SLIDE-006"),
    ),
)


def text_of(scene: Scene, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(render(scene, width=width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_everything_that_matters_is_shown(width: int) -> None:
    shown = " ".join(text_of(SCENE, width).split())

    for expected in (
        "RUNNING",
        "91% busy in the last minute",
        "87% of the run",
        "for tiles 12 s",
        "#++++-..",
        "512 tiles/s",
        "31.2 scans/h",
        "5 readers (6 wanted)",
        "8 of 52 scans, 1 failed, 81000 tiles; 3 finished before; 40/52 files identified",
        "41 queued, 2 leased, 1 backoff; oldest 62 min; STAT waits 4 s",
        "reader SIGSEGV 2",
        "F-7K3QW9TD STAT",
        "9216/18432",
        "F-0000000B alone",
        "310 MB",
        "1.5 GB",
        "F-0000000A 0.42",
        "failed PEL-SLIDE-006",
        "a kill now loses 512 tiles, a power cut 728 tiles",
        "Research use only",
    ):
        assert expected in shown, expected
    assert "0 quarantined" not in shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_fits_its_terminal(width: int) -> None:
    lines = text_of(SCENE, width).splitlines()

    assert all(len(text) <= width for text in lines)
    assert len(lines) <= 26


def test_more_columns_tell_the_last_durable_step() -> None:
    assert "4 s ago" in text_of(SCENE, 120)
    assert "4 s ago" not in text_of(SCENE, 80)


def test_a_pause_says_why_and_that_nothing_is_lost() -> None:
    paused = replace(SNAPSHOT, state=EngineState.PAUSED, paused_because="[PEL-CORE-001] No space.")

    shown = text_of(replace(SCENE, snapshot=paused), 80)

    assert "PAUSED" in shown
    assert "nothing is lost: [PEL-CORE-001] No space." in shown


@pytest.mark.parametrize("scene", [Scene(), Scene(hashed=(3, 9)), Scene(snapshot=ended(SNAPSHOT))])
def test_there_is_something_to_show_at_every_moment(scene: Scene) -> None:
    assert text_of(scene, 80).strip()


def play(view: LiveView) -> None:
    with view:
        view.hashed(1, 2)
        view.queued(2, 1)
        view.started("F-7K3QW9TD")
        view.snapshot(SNAPSHOT)
        view.tiles(64)
        view.paused(StorageFull("No space."))
        view.paused(None)
        view.ended("F-7K3QW9TD", 0.42, None)
        view.ended("F-0000000C", None, "PEL-SLIDE-006")
        view.say("Finishing the scans in hand.")
        view.snapshot(ended(SNAPSHOT))


def test_on_a_terminal_the_last_frame_stays() -> None:
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=True, color_system=None)

    play(LiveView(console))

    written = console.file.getvalue()
    last = written[written.rindex("Pellucid") :]
    assert "ENDED" in last
    assert "failed PEL-SLIDE-006" in last
    assert "2 of 2 scans, 1 failed, 64 tiles" in last
    assert "Finishing the scans in hand." in written


def test_without_a_terminal_it_writes_lines(capfd: pytest.CaptureFixture[str]) -> None:
    play(LiveView(Console(file=io.StringIO(), force_terminal=False)))

    written = capfd.readouterr().err
    assert "\x1b" not in written
    assert "failed PEL-SLIDE-006" in written
    assert "Finishing the scans in hand." in written


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_ends_from_another_thread_are_all_counted() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    view = LiveView(console)

    def tell() -> None:
        for number in range(2000):
            view.ended(f"F-{number:08}", 0.5, None)

    with view:
        thread = threading.Thread(target=tell)
        thread.start()
        while thread.is_alive():
            view.tiles(1)
        thread.join()
        view.snapshot(SNAPSHOT)

    assert "2000 of 2000 scans" in console.file.getvalue()


def test_one_line_for_a_log() -> None:
    assert line(SNAPSHOT) == (
        "running: 512 tiles/s, device 91% busy, 2 scans in hand, queue: 41 queued, 2 leased, 1 backoff"
    )
