import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from pellucid.core.clock import utc_now
from pellucid.core.serial import to_plain
from pellucid.training.checkpoints import (
    Checkpoints,
    Retention,
    RunLock,
    RunLocked,
    RunLockLost,
    newest_valid,
    read_owner,
    verdicts,
)
from pellucid.training.checkpoints.owner import this_process
from pellucid.training.ranks import Ranks
from training.checkpoints.lock_child import LEASE_S, RENEW_S
from training.checkpoints.states import IDENTITY, Counters

CHILD = Path(__file__).with_name("lock_child.py")
PATIENCE_S = 120


class Child:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def says(self):
        return self.process.stdout.readline().strip()

    def send(self, number):
        self.process.send_signal(number)

    def stopped(self):
        """Wait until the process is stopped."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return
            time.sleep(0.02)
        raise AssertionError("the process was not stopped")

    def end(self):
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start():
    children = []

    def begin(*arguments):
        children.append(Child(*arguments))
        return children[-1]

    yield begin
    for child in children:
        child.end()


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path, start):
    child = start("hold", tmp_path)
    assert child.says() == "token 1"
    with pytest.raises(RunLocked, match=rf"process {child.process.pid} on .*since 2"):
        RunLock(tmp_path)
    assert read_owner(tmp_path).pid == child.process.pid
    assert json.loads((tmp_path / "lock.json").read_text())["pid"] == child.process.pid


def test_after_a_release_the_next_holder_has_a_higher_token(tmp_path):
    for token in (1, 2, 3):
        with RunLock(tmp_path) as lock:
            assert lock.token == token
            lock.confirm()
        assert read_owner(tmp_path).released is not None
    lock.release()
    assert [path.name for path in (tmp_path / ".lock").iterdir()] == ["00000003.json"]


@pytest.mark.parametrize("round_", range(3))
def test_of_several_at_once_exactly_one_holds_it(round_, tmp_path, start):
    children = [start("hold", tmp_path) for _ in range(5)]
    said = sorted(child.says() for child in children)
    assert said == ["refused PEL-TRAIN-022"] * 4 + ["token 1"]


def test_of_several_at_once_after_a_death_exactly_one_holds_it(tmp_path, start):
    first = start("hold", tmp_path)
    assert first.says() == "token 1"
    first.send(signal.SIGKILL)
    said = sorted(child.says() for child in [start("hold", tmp_path) for _ in range(5)])
    assert said == ["refused PEL-TRAIN-022"] * 4 + ["token 2"]


def test_threads_of_one_process_are_two_writers_as_well(tmp_path):
    with RunLock(tmp_path, renew_s=RENEW_S), pytest.raises(RunLocked):
        RunLock(tmp_path)


def test_a_killed_holder_is_followed_at_once(tmp_path, start):
    child = start("hold", tmp_path)
    assert child.says() == "token 1"
    child.send(signal.SIGKILL)
    # not waited for: a zombie is dead
    with RunLock(tmp_path, lease_s=10 * PATIENCE_S) as lock:
        assert lock.token == 2


def test_a_number_that_was_given_out_again_is_not_taken_for_the_dead_process(tmp_path):
    (tmp_path / ".lock").mkdir()
    other = replace(this_process(4, utc_now()), started=1)
    (tmp_path / ".lock" / "00000004.json").write_text(json.dumps(to_plain(other)))
    assert other.is_dead()
    with RunLock(tmp_path, lease_s=10 * PATIENCE_S) as lock:
        assert lock.token == 5


def elsewhere(tmp_path):
    """A claim of a process on another machine."""
    (tmp_path / ".lock").mkdir()
    claim = tmp_path / ".lock" / "00000001.json"
    owner = replace(this_process(1, utc_now(), {"SLURM_JOB_ID": "77"}), host="elsewhere", pid=1)
    claim.write_text(json.dumps(to_plain(owner)))
    return claim


def test_a_silent_holder_on_another_machine_is_followed_after_the_lease_on_our_own_clock(tmp_path):
    claim = elsewhere(tmp_path)
    os.utime(claim, (time.time() + 10**6, time.time() + 10**6))
    began = time.monotonic()
    with RunLock(tmp_path, lease_s=LEASE_S) as lock:
        assert time.monotonic() - began >= LEASE_S
        assert lock.token == 2


def test_a_holder_on_another_machine_that_gives_a_sign_of_life_is_respected(tmp_path):
    claim, done = elsewhere(tmp_path), threading.Event()

    def live():
        while not done.wait(RENEW_S):
            os.utime(claim)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(RunLocked, match=r"process 1 on elsewhere .*Slurm job 77"):
            RunLock(tmp_path, lease_s=10 * PATIENCE_S)
    finally:
        done.set()
        thread.join()


def test_a_holder_on_another_machine_that_releases_while_it_is_watched_is_followed(tmp_path):
    claim = elsewhere(tmp_path)
    owner = read_owner(tmp_path)

    def release():
        part = claim.with_suffix(".part")
        part.write_text(json.dumps(to_plain(replace(owner, released=utc_now()))))
        part.replace(claim)

    timer = threading.Timer(1.0, release)
    timer.start()
    with RunLock(tmp_path, lease_s=10 * PATIENCE_S) as lock:
        assert lock.token == 2
    timer.join()


def test_a_claim_that_was_torn_is_followed_after_the_lease(tmp_path):
    (tmp_path / ".lock").mkdir()
    (tmp_path / ".lock" / "00000007.json").write_text("")
    with RunLock(tmp_path, lease_s=LEASE_S) as lock:
        assert lock.token == 8


def test_a_stopped_holder_is_followed_after_the_lease_and_finds_out(tmp_path, start):
    child = start("hold", tmp_path)
    assert child.says() == "token 1"
    child.send(signal.SIGSTOP)
    child.stopped()
    with RunLock(tmp_path, lease_s=LEASE_S, renew_s=RENEW_S) as lock:
        assert lock.token == 2
        child.send(signal.SIGCONT)
        child.process.communicate("\n", timeout=PATIENCE_S)
        lock.confirm()
        assert read_owner(tmp_path).token == 2
        assert json.loads((tmp_path / "lock.json").read_text())["token"] == 2


def test_a_holder_whose_folder_was_deleted_finds_out(tmp_path):
    lock = RunLock(tmp_path / "run")
    for path in (tmp_path / "run" / ".lock").iterdir():
        path.unlink()
    with pytest.raises(RunLockLost, match="deleted"):
        lock.confirm()
    lock.release()


@pytest.mark.parametrize(
    "phase",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("save", "hash", "manifest", "rename", "replace")),
        "confirmed",
    ],
)
def test_a_writer_that_was_stopped_and_followed_can_commit_nothing(phase, tmp_path, start):
    """As after a job was started twice: the old one goes on where it was stopped, at any place of a save."""
    old = start("commit", tmp_path, phase)
    assert old.says() == "saved 1"
    old.stopped()
    folder = tmp_path / "checkpoints" / "head"
    with RunLock(tmp_path, lease_s=LEASE_S, renew_s=RENEW_S) as lock:
        new = Checkpoints(folder, identity=IDENTITY, retention=Retention(), ranks=Ranks(), lock=lock)
        assert new.load({"model": nn.Linear(3, 2)}, force=True).step == 1
        part = {"part": Counters({"x": 1})}
        assert new.save(part, step=2, reason="interval").error is None
        old.send(signal.SIGCONT)
        assert old.says() == "refused PEL-TRAIN-023"
        old.process.wait(PATIENCE_S)
        assert new.save(part, step=3, reason="interval").error is None
    assert [(verdict.step, verdict.problem) for verdict in verdicts(folder)] == [(3, None), (2, None), (1, None)]
    assert newest_valid(folder).manifest.token == 2
    assert sorted(path.name for path in folder.iterdir()) == [f"step-0000000{step}" for step in (1, 2, 3)]
