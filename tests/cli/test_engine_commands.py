"""The commands that are the engine with another ledger or last stage, run as a user runs them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import SigningKey
from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.encoders.bag import read_bag
from pellucid.records import DATABASE_NAME, TaskState, open_records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trust(key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    private = tmp_path_factory.mktemp("keys") / "key.pem"
    key.save(private)
    return Path(f"{private}.pub")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(3):
        write_large_slide(folder / f"scan {seed}.svs", 2048, 2048, seed)
    return folder


@pytest.fixture
def pellucid(pristine: Path, trust: Path) -> Callable[..., subprocess.Popen[str]]:
    def start(command: str, *words: object) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "pellucid", *command.split(), *map(str, words)]
        line += ["--bundle", str(pristine), "--trust", str(trust), "--json"]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def summary_of(process: subprocess.Popen[str], code: int = 0) -> dict[str, object]:
    printed, said = process.communicate(timeout=300)
    assert process.returncode == code, said
    return json.loads(printed)


def test_bag_make_leaves_one_bag_a_scan_and_knows_them_again(
    pellucid: Callable[..., subprocess.Popen[str]], scans: Path, tmp_path: Path
) -> None:
    first = summary_of(pellucid("bag make", scans, "--out", tmp_path))
    assert (first["scored"], first["failed"]) == (3, 0)
    bags = [read_bag(path) for path in sorted((tmp_path / "bags").iterdir())]
    assert len(bags) == 3
    assert sum(len(bag) for bag in bags) == first["tiles"]
    again = summary_of(pellucid("bag make", scans, "--out", tmp_path))
    assert (again["scored"], again["known"]) == (0, 3)
    with open_records(tmp_path / DATABASE_NAME) as records:
        assert records.decisions() == []
        assert records.verify_audit().ok


def test_a_worker_does_what_a_stopped_run_left(
    pellucid: Callable[..., subprocess.Popen[str]], scans: Path, tmp_path: Path
) -> None:
    run = pellucid("run", scans, "--out", tmp_path, "--grace", "0")
    until(lambda: len(states(tmp_path)) == 3, run)
    run.send_signal(signal.SIGTERM)
    left = summary_of(run, 130)["left"]
    assert left
    assert all(state in {TaskState.QUEUED, TaskState.DONE} for state in states(tmp_path))
    done = summary_of(pellucid("worker", "--out", tmp_path, "--until-empty"))
    assert done["scored"] == left
    assert states(tmp_path) == [TaskState.DONE] * 3
    with open_records(tmp_path / DATABASE_NAME) as records:
        assert all(task.attempts == 1 for task in records.tasks()), "a release burnt an attempt"
        assert len(records.decisions()) == 3


def test_a_watched_folder_is_worked_on_until_stopped(
    pellucid: Callable[..., subprocess.Popen[str]], scans: Path, tmp_path: Path
) -> None:
    incoming, out = tmp_path / "incoming", tmp_path / "out"
    incoming.mkdir()
    first, second, _ = sorted(scans.iterdir())
    shutil.copy(first, incoming)
    run = pellucid("run", "--watch", incoming, "--settle", "0.5", "--out", out)
    until(lambda: states(out) == [TaskState.DONE], run)
    shutil.copy(second, incoming)
    until(lambda: states(out) == [TaskState.DONE] * 2, run)
    run.send_signal(signal.SIGTERM)
    assert summary_of(run)["scored"] == 2
    with open_records(out / DATABASE_NAME) as records:
        assert len(records.decisions()) == 2


def test_the_status_of_a_run_that_was_killed_says_what_is_durable(
    pellucid: Callable[..., subprocess.Popen[str]], scans: Path, tmp_path: Path
) -> None:
    run = pellucid("run", scans, "--out", tmp_path)
    until((tmp_path / "status.json").exists, run)
    run.kill()
    run.communicate()
    command = [sys.executable, "-m", "pellucid", "status", "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    assert summary_of(pellucid("run", scans, "--out", tmp_path))["left"] == 0


def states(out: Path) -> list[TaskState]:
    if not (out / DATABASE_NAME).exists():
        return []
    with open_records(out / DATABASE_NAME) as records:
        return [task.state for task in records.tasks()]


def until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)
