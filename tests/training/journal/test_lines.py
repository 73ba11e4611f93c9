"""Lines survive kills and full disks; what a resume does again is superseded."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from pellucid.core.errors import StorageFull
from pellucid.training.journal.lines import LineFile, read_lines, supersede


def write(path, *lines, durable=False):
    file = LineFile(path, durable=durable)
    for line in lines:
        file.write(line)
    file.close()


def step(number, task="head", **values):
    return {"task": task, "step": number, **values}


def test_lines_are_read_in_order(tmp_path):
    write(tmp_path / "a.jsonl", step(0), step(1), durable=True)
    write(tmp_path / "a.jsonl", step(2))

    assert [line["step"] for line in read_lines(tmp_path / "a.jsonl")] == [0, 1, 2]


def test_no_file_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("torn", [b'{"task": "head", "st', b'{"task": "h\xc3', b"[1, 2]", b"\x00" * 100])
def test_a_torn_last_line_costs_only_itself(tmp_path, torn):
    path = tmp_path / "a.jsonl"
    write(path, step(0))
    with path.open("ab") as file:
        file.write(torn)

    assert [line["step"] for line in read_lines(path)] == [0]
    write(path, step(1))
    assert [line["step"] for line in read_lines(path)] == [0, 1]


def test_numbers_that_json_lacks_become_null(tmp_path):
    write(tmp_path / "a.jsonl", {"loss": float("nan"), "more": [float("inf"), 1.5], "where": tmp_path})

    assert json.loads((tmp_path / "a.jsonl").read_text()) == {
        "loss": None,
        "more": [None, 1.5],
        "where": str(tmp_path),
    }


def test_a_full_disk_tears_one_line_and_no_later_one(tmp_path):
    path = tmp_path / "a.jsonl"
    file = LineFile(path, durable=False)
    file.write(step(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
        with pytest.raises((OSError, StorageFull)) as refused:
            file.write(step(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    file.write(step(2))
    file.close()

    assert isinstance(refused.value, StorageFull) or refused.value.errno == errno.EFBIG
    assert path.read_bytes().count(b"\n") == 3
    assert [line["step"] for line in read_lines(path)] == [0, 2]


def test_lines_of_later_steps_of_that_task_are_superseded(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, *(step(number) for number in range(5)), step(9, "bags"), step(2, kind="epoch"), step(3, kind="epoch"))
    with path.open("ab") as file:
        file.write(b'{"torn": ')

    assert supersede(path, "head", 3) == 3
    assert [(line["task"], line["step"]) for line in read_lines(path)] == [
        ("head", 0),
        ("head", 1),
        ("head", 2),
        ("bags", 9),
        ("head", 2),
    ]
    assert path.read_bytes().endswith(b"\n")
    assert b"torn" not in path.read_bytes()


def test_nothing_superseded_leaves_the_file_itself(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, step(0), step(1))
    number = path.stat().st_ino

    assert supersede(path, "head", 2) == 0
    assert supersede(path, "other", 0) == 0
    assert supersede(tmp_path / "none.jsonl", "head", 0) == 0
    assert path.stat().st_ino == number


def test_a_killed_writer_leaves_every_line_it_had_written(tmp_path):
    path = tmp_path / "a.jsonl"
    code = (
        "import itertools, pathlib, sys\n"
        "from pellucid.training.journal.lines import LineFile\n"
        f"file = LineFile(pathlib.Path({str(path)!r}), durable=False)\n"
        "for number in itertools.count():\n"
        "    file.write({'task': 'head', 'step': number, 'text': 'x' * 500})\n"
        "    if number % 100 == 0: print(number, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [int(child.stdout.readline()) for _ in range(5)][-1]
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()

    steps = [line["step"] for line in read_lines(path)]
    assert steps == list(range(len(steps)))
    assert len(steps) > told
