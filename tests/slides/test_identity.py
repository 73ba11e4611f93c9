import errno
import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.slides import FileEmpty, FileMissing, identify
from pellucid.slides.fingerprint import FileChanged, fingerprint
from pellucid.slides.identity import PROGRESS_BYTES, FileUnhashable, identify_marked

MIB = 1 << 20


def test_the_fingerprint_given_with_the_identity_is_that_of_the_same_files(tmp_path):
    path = tmp_path / "scan.svs"
    path.write_bytes(b"a slide" * 100_000)
    identity, mark = identify_marked(path)
    assert identity.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (identity.size_bytes, identity.n_files) == (700_000, 1)
    assert mark == fingerprint(path)


def test_progress_is_told_after_each_64_mib_over_all_files_of_a_scan(tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan.mrxs").write_bytes(b"x")
    for number in range(3):
        with (tmp_path / "scan" / f"Data{number}.dat").open("wb") as file:
            file.truncate(50 * MIB)
    told: list[int] = []
    identity = identify(tmp_path / "scan.mrxs", told.append)
    assert (identity.n_files, identity.size_bytes) == (4, 150 * MIB + 1)
    assert [done // PROGRESS_BYTES for done in told] == [1, 2]


def test_a_file_written_to_while_it_is_hashed_is_refused(tmp_path):
    path = tmp_path / "scan.svs"
    with path.open("wb") as file:
        file.truncate(2 * PROGRESS_BYTES)

    def write_behind(_done: int) -> None:
        with path.open("r+b") as file:
            file.write(b"already hashed")

    with pytest.raises(FileChanged):
        identify(path, write_behind)


def test_a_file_replaced_by_one_of_the_same_size_while_it_is_hashed_is_refused(tmp_path):
    path, other = tmp_path / "scan.svs", tmp_path / "other"
    for file in (path, other):
        with file.open("wb") as opened:
            opened.truncate(PROGRESS_BYTES)
    with pytest.raises(FileChanged):
        identify(path, lambda _done: other.replace(path) and None)


def test_a_scan_that_goes_away_while_it_is_hashed_is_a_coded_error(tmp_path):
    path = tmp_path / "scan.svs"
    with path.open("wb") as file:
        file.truncate(PROGRESS_BYTES)
    with pytest.raises(FileMissing):
        identify(path, lambda _done: path.unlink())


def test_a_part_of_a_scan_that_goes_away_while_it_is_hashed_is_a_coded_error(tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan.mrxs").write_bytes(b"x")
    for number in range(2):
        with (tmp_path / "scan" / f"Data{number}.dat").open("wb") as file:
            file.truncate(PROGRESS_BYTES)
    with pytest.raises(FileChanged):
        identify(tmp_path / "scan.mrxs", lambda _done: (tmp_path / "scan" / "Data1.dat").unlink(missing_ok=True))


SLOW_WRITER = """
import sys, time
with open(sys.argv[1], "wb") as file:
    for _ in range(40):
        file.write(bytes(4 << 20))
        file.flush()
        time.sleep(0.02)
"""


def test_a_file_that_another_process_still_writes_never_gets_the_identity_of_a_part(tmp_path):
    path = tmp_path / "scan.svs"
    writer = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(path)])
    refused = 0
    try:
        while writer.poll() is None:
            try:
                identity = identify(path)
            except (FileChanged, FileMissing, FileEmpty):
                refused += 1
            else:
                # It may have been hashed in a pause of the copy: then its fingerprint is out of date at once.
                assert identity.size_bytes <= 160 * MIB
            time.sleep(0.005)
    finally:
        writer.kill()
        writer.wait()
    assert refused > 0
    assert identify(path).size_bytes == 160 * MIB


@pytest.mark.parametrize("name", ["null\0byte.svs", "x" * 5000])
def test_an_impossible_path_is_a_coded_error(tmp_path, name):
    with pytest.raises((FileMissing, FileUnhashable)):
        identify(tmp_path / name)


def test_a_disk_that_fails_is_a_coded_error_without_a_path(tmp_path, monkeypatch):
    path = tmp_path / "secret.svs"
    path.write_bytes(b"x")

    def failing(*_: object) -> object:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "stat", failing)
    with pytest.raises(FileUnhashable) as caught:
        identify(path)
    assert "secret" not in caught.value.message
