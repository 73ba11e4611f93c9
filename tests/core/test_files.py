"""A file is the old one or the new one, never a part, whatever happens to the writer."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pellucid.core.errors import StorageFull
from pellucid.core.files import atomic_path, storage_errors, write_bytes, write_json, write_text


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic_path(path) as part:
        part.write_text("half")
        assert not path.exists()
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert _names(path.parent) == ["file.txt"]


def test_the_part_lies_beside_the_file_so_that_a_rename_suffices(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "file") as part:
        assert part.parent == tmp_path
        assert part.name.startswith(".file.")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error):
        _write_and_raise(path, error)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_a_folder_that_finds_no_space_is_coded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageFull):
        write_text(tmp_path / "new" / "file", "text")


_KILLED = """
import os, signal, sys
from pathlib import Path
from pellucid.core.files import atomic_path
with atomic_path(Path(sys.argv[1])) as part:
    part.write_bytes(b"new" * 100_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old_file_and_the_next_writer_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from pellucid.core.files import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_bytes(Path(sys.argv[1]), b"x" * 100_000)
except OSError as error:
    print(error.errno)
"""


def test_a_write_cut_short_by_the_system_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(errno.EFBIG)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_a_really_full_device_is_a_coded_error() -> None:
    with pytest.raises(StorageFull, match="No space is left to write /dev/full"), storage_errors(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        write_text(tmp_path / "file", "old")
        with pytest.raises(StorageFull):
            write_bytes(tmp_path / "file", b"x" * 1_000_000)
        assert (tmp_path / "file").read_text() == "old"
        assert _names(tmp_path) == ["file"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_and_used_up_quota_are_the_same_error(tmp_path: Path, number: int) -> None:
    with pytest.raises(StorageFull), storage_errors(tmp_path / "file"):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_system_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), storage_errors(tmp_path / "file"):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_full_disk_crosses_processes_as_itself(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(StorageFull("No space.", path=str(tmp_path))))
    assert isinstance(error, StorageFull)
    assert (error.message, error.context) == ("No space.", {"path": str(tmp_path)})


def test_of_writers_at_once_one_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert _names(tmp_path) == ["file"]


def test_a_file_can_be_read_by_others_whatever_temporary_files_are(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=10_000))
def test_bytes_come_back_as_they_were(tmp_path: Path, data: bytes) -> None:
    write_bytes(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data


def test_json_is_for_people_and_keeps_their_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"name": "Größe µm", "values": [1, 2.5, None]})
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert "Größe µm" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"name": "Größe µm", "values": [1, 2.5, None]}


def test_json_that_is_none_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert path.read_text() == "1\n"


def _write_and_raise(path: Path, error: type[BaseException]) -> None:
    with atomic_path(path) as part:
        part.write_text("new")
        raise error


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())
