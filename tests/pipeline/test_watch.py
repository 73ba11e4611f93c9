"""A watched folder: what is complete is told once, what is still being copied never."""

import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.cohort import CohortInvalid
from pellucid.core.digests import digest_file
from pellucid.pipeline.arrivals import WatchedFiles, WatchedTable
from pellucid.pipeline.watch import WatchedFolder

SETTLE_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def watched(inbox: Path, clock: Clock) -> WatchedFolder:
    return WatchedFolder(inbox, settle_s=SETTLE_S, clock=clock)


@pytest.fixture
def after(watched: WatchedFolder, clock: Clock) -> Callable[[float], list[str]]:
    """Look again some seconds later: the names of what became complete."""

    def look(seconds: float) -> list[str]:
        clock.now += seconds
        return [path.name for path in watched.poll()]

    return look


Look = Callable[[float], list[str]]


def append(path: Path, data: bytes = b"more") -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_scan_is_told_once_after_it_was_left_alone(inbox: Path, after: Look) -> None:
    append(inbox / "a.svs")
    assert [after(0), after(9), after(1), after(100)] == [[], [], ["a.svs"], []]


def test_any_change_makes_the_while_begin_anew(inbox: Path, after: Look, watched: WatchedFolder) -> None:
    append(inbox / "a.svs")
    after(0)
    for _ in range(3):
        append(inbox / "a.svs")
        assert after(9) == []
    os.utime(inbox / "a.svs", ns=(0, 5))
    assert after(9) == []
    assert [path.name for path in watched.settling] == ["a.svs"]
    assert after(9) == []
    assert after(1) == ["a.svs"]
    assert watched.settling == ()


def test_a_marker_says_at_once_that_a_scan_is_complete(inbox: Path, after: Look) -> None:
    append(inbox / "a.svs")
    append(inbox / "b.svs")
    (inbox / "a.svs.done").touch()
    assert after(0) == ["a.svs"]


def test_a_marker_that_is_older_than_the_scan_speaks_of_what_was_there_before(inbox: Path, after: Look) -> None:
    (inbox / "a.svs.done").touch()
    os.utime(inbox / "a.svs.done", ns=(0, time.time_ns() - 10**9))
    append(inbox / "a.svs")
    assert after(0) == []
    assert after(10) == ["a.svs"]


def test_markers_can_be_left_out(inbox: Path, clock: Clock) -> None:
    append(inbox / "a.svs")
    (inbox / "a.svs.done").touch()
    watched = WatchedFolder(inbox, settle_s=SETTLE_S, marker_suffix=None, clock=clock)
    assert watched.poll() == []


@pytest.mark.parametrize(
    "name", ["a.svs.part", "a.svs.tmp", ".a.svs.X7f3", "a.svs.filepart", "cases.csv", "a.svs.done"]
)
def test_what_is_no_scan_yet_is_not_told(inbox: Path, after: Look, name: str) -> None:
    append(inbox / name)
    after(0)
    assert after(100) == []


def test_an_upload_under_another_name_is_told_once_it_is_renamed(inbox: Path, after: Look) -> None:
    append(inbox / "a.svs.part")
    after(0)
    after(100)
    (inbox / "a.svs.part").rename(inbox / "a.svs")
    assert [after(1), after(10)] == [[], ["a.svs"]]


def test_a_file_that_goes_away_is_forgotten(inbox: Path, after: Look) -> None:
    append(inbox / "a.svs")
    after(0)
    (inbox / "a.svs").unlink()
    assert after(100) == []
    append(inbox / "a.svs")
    assert [after(0), after(9), after(1)] == [[], [], ["a.svs"]]


def test_a_file_that_is_replaced_after_it_was_taken_is_a_new_arrival(inbox: Path, after: Look, tmp_path: Path) -> None:
    append(inbox / "a.svs", b"one")
    after(0)
    assert after(10) == ["a.svs"]
    state = (inbox / "a.svs").stat()
    (tmp_path / "other").write_bytes(b"two")
    os.utime(tmp_path / "other", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "other").replace(inbox / "a.svs")
    assert [after(1), after(9), after(1), after(50)] == [[], [], ["a.svs"], []]


def test_a_folder_that_is_away_for_a_while_is_no_error_and_nothing_is_told_twice(
    inbox: Path, after: Look, watched: WatchedFolder, tmp_path: Path
) -> None:
    assert not watched.reachable
    append(inbox / "taken.svs")
    after(0)
    assert after(10) == ["taken.svs"]
    append(inbox / "copying.svs")
    after(0)
    inbox.rename(tmp_path / "elsewhere")
    assert after(1) == []
    assert not watched.reachable
    (tmp_path / "elsewhere").rename(inbox)
    assert after(100) == [], "a copy that stood still because the share was away is not done"
    assert watched.reachable
    assert [after(9), after(1)] == [[], ["copying.svs"]]


def test_a_folder_that_comes_later_is_watched(tmp_path: Path, clock: Clock) -> None:
    watched = WatchedFolder(tmp_path / "later", settle_s=0, clock=clock)
    assert watched.poll() == []
    (tmp_path / "later").mkdir()
    append(tmp_path / "later" / "a.svs")
    assert watched.poll() == [tmp_path / "later" / "a.svs"]


def test_a_mirax_scan_waits_for_its_folder_and_for_each_file_in_it(inbox: Path, after: Look) -> None:
    append(inbox / "scan.mrxs")
    after(0)
    assert after(100) == []
    (inbox / "scan").mkdir()
    append(inbox / "scan" / "Slidedat.ini")
    assert after(1) == []
    for _ in range(3):
        append(inbox / "scan" / "Data0000.dat")
        assert after(9) == []
    assert after(10) == ["scan.mrxs"]
    append(inbox / "scan" / "Data0000.dat")
    assert [after(1), after(10)] == [[], ["scan.mrxs"]]


def test_a_dicom_series_is_one_scan(inbox: Path, after: Look) -> None:
    for name in ("1.dcm", "2.dcm"):
        (inbox / name).write_bytes(bytes(128) + b"DICM\x20\x00\x0e\x00UI\x06\x001.2.3\0")
    after(0)
    assert after(10) == ["1.dcm"]


COPY = """
import sys, time
source, target, pause = open(sys.argv[1], "rb"), open(sys.argv[2], "wb"), float(sys.argv[3])
while piece := source.read(1 << 16):
    target.write(piece)
    target.flush()
    time.sleep(pause)
"""


def test_a_slow_copy_that_pauses_is_not_taken_before_it_is_whole(inbox: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.svs"
    source.write_bytes(os.urandom(30 << 16))
    watched = WatchedFolder(inbox, settle_s=2.0)
    copy = subprocess.Popen([sys.executable, "-c", COPY, str(source), str(inbox / "a.svs"), "0.1"])
    try:
        until = time.monotonic() + 60
        paused = False
        while not (taken := watched.poll()) and time.monotonic() < until:
            if not paused and (inbox / "a.svs").exists() and (inbox / "a.svs").stat().st_size > 5 << 16:
                copy.send_signal(signal.SIGSTOP)
                time.sleep(0.5)
                watched.poll()
                copy.send_signal(signal.SIGCONT)
                paused = True
            time.sleep(0.05)
        assert paused
        assert taken == [inbox / "a.svs"]
        assert copy.poll() == 0, "the copy was still running when its file was taken"
        assert digest_file(inbox / "a.svs") == digest_file(source)
    finally:
        copy.kill()
        copy.wait()


def test_bare_files_are_specimens_of_their_own(inbox: Path, watched: WatchedFolder, clock: Clock) -> None:
    append(inbox / "a.svs")
    files = WatchedFiles(watched, mpp=0.5)
    assert files.poll().arrived == ()
    clock.now += 10
    poll = files.poll()
    assert poll.arrived == (inbox / "a.svs",)
    assert [(entry.path, entry.mpp, entry.specimen) for entry in poll.entries] == [
        (inbox / "a.svs", 0.5, str(inbox / "a.svs"))
    ]


def table_of(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("case,specimen,path", *rows)) + "\n")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return table_of(tmp_path / "cases.csv", "C,S,slides/a.svs", "C,S,slides/b.svs", "D,T,inbox/c.svs")


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_arrivals_are_matched_to_rows_by_name_and_the_others_are_expected(
    inbox: Path, watched: WatchedFolder, clock: Clock, table: Path
) -> None:
    rows = WatchedTable(watched, table)
    for name in ("a.svs", "c.svs", "stray.svs"):
        append(inbox / name)
    rows.poll()
    clock.now += 10
    poll = rows.poll()
    assert poll.arrived == (inbox / "a.svs", inbox / "c.svs")
    assert names(poll.unmatched) == ["stray.svs"]
    assert [(entry.specimen, entry.path) for entry in poll.entries] == [
        ("S", inbox / "a.svs"),
        ("S", table.parent / "slides" / "b.svs"),
        ("T", inbox / "c.svs"),
    ]
    assert rows.poll().arrived == ()


def test_a_file_is_held_until_the_table_names_it(
    inbox: Path, watched: WatchedFolder, clock: Clock, table: Path
) -> None:
    rows = WatchedTable(watched, table)
    append(inbox / "late.svs")
    rows.poll()
    clock.now += 10
    assert names(rows.poll().unmatched) == ["late.svs"]
    table_of(table, "C,S,slides/a.svs", "E,U,late.svs")
    assert rows.poll().arrived == ()
    clock.now += 9
    assert rows.poll().arrived == (), "the table may still be in the writing"
    clock.now += 1
    poll = rows.poll()
    assert (names(poll.arrived), poll.unmatched) == (["late.svs"], ())
    assert [entry.specimen for entry in poll.entries] == ["S", "U"]
    assert rows.poll().arrived == ()


def test_a_file_that_a_corrected_table_gives_to_another_specimen_is_matched_anew(
    inbox: Path, watched: WatchedFolder, clock: Clock, table: Path
) -> None:
    rows = WatchedTable(watched, table)
    append(inbox / "a.svs")
    rows.poll()
    clock.now += 10
    assert names(rows.poll().arrived) == ["a.svs"]
    table_of(table, "D,T,elsewhere/a.svs")
    rows.poll()
    clock.now += 10
    poll = rows.poll()
    assert names(poll.arrived) == ["a.svs"]
    assert [(entry.specimen, entry.path) for entry in poll.entries] == [("T", inbox / "a.svs")]


def test_a_table_that_becomes_unusable_leaves_what_it_said(
    inbox: Path, watched: WatchedFolder, clock: Clock, table: Path
) -> None:
    rows = WatchedTable(watched, table)
    table.write_text("case,specimen\nC,S\n")
    rows.poll()
    clock.now += 10
    poll = rows.poll()
    assert isinstance(poll.problem, CohortInvalid)
    assert len(poll.entries) == 3
    table.unlink()
    assert len(rows.poll().entries) == 3
    table_of(table, "C,S,a.svs")
    rows.poll()
    clock.now += 10
    poll = rows.poll()
    assert poll.problem is None
    assert len(poll.entries) == 1


def test_a_name_that_two_rows_have_matches_neither(
    inbox: Path, watched: WatchedFolder, clock: Clock, tmp_path: Path
) -> None:
    table = table_of(tmp_path / "cases.csv", "C,S,one/a.svs", "D,T,two/a.svs")
    rows = WatchedTable(watched, table)
    append(inbox / "a.svs")
    rows.poll()
    clock.now += 10
    assert names(rows.poll().unmatched) == ["a.svs"]


def test_a_row_may_name_any_instance_of_a_dicom_series(
    inbox: Path, watched: WatchedFolder, clock: Clock, tmp_path: Path
) -> None:
    rows = WatchedTable(watched, table_of(tmp_path / "cases.csv", "C,S,series/2.dcm"))
    for name in ("1.dcm", "2.dcm"):
        (inbox / name).write_bytes(bytes(128) + b"DICM\x20\x00\x0e\x00UI\x06\x001.2.3\0")
    rows.poll()
    clock.now += 10
    poll = rows.poll()
    assert (names(poll.arrived), poll.unmatched) == (["2.dcm"], ())


def test_an_accent_matches_in_either_way_of_writing_it(
    inbox: Path, watched: WatchedFolder, clock: Clock, tmp_path: Path
) -> None:
    name = "é.svs"
    rows = WatchedTable(watched, table_of(tmp_path / "cases.csv", f"C,S,{unicodedata.normalize('NFC', name)}"))
    append(inbox / unicodedata.normalize("NFD", name))
    rows.poll()
    clock.now += 10
    assert len(rows.poll().arrived) == 1


def test_a_scan_that_was_moved_away_after_it_was_taken_stays_its_rows(
    inbox: Path, watched: WatchedFolder, clock: Clock, table: Path, tmp_path: Path
) -> None:
    rows = WatchedTable(watched, table)
    append(inbox / "a.svs")
    append(inbox / "stray.svs")
    rows.poll()
    clock.now += 10
    rows.poll()
    for name in ("a.svs", "stray.svs"):
        shutil.move(inbox / name, tmp_path / name)
    poll = rows.poll()
    assert poll.entries[0].path == inbox / "a.svs"
    assert (poll.arrived, poll.unmatched) == ((), ())
