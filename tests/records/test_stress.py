"""Many processes on one queue while they are killed and frozen: one answer a task, and no innocent quarantined."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.records import STAT_PRIORITY, TaskState, WorkerDied

pytestmark = pytest.mark.slow

WORKER = """
import os, signal, sys, time
sys.path[:0] = sys.argv[2:]
from conftest import Ward
from pellucid.records import LeaseLost, open_records, process_owner
with open_records(sys.argv[1]) as records:
    ward = Ward(sys.argv[1], records)
    while True:
        task = records.claim(process_owner(), lease_s=1.5)
        if task is None:
            time.sleep(0.05)
            continue
        if task.specimen.startswith("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        kept = True
        for _ in range(3):
            time.sleep(0.02)
            kept = kept and records.extend(task, 1.5, progressed=True)
        try:
            ward.complete(task)
            ward.complete(task)  # as if the first answer had been lost
        except LeaseLost:
            pass
"""
N_TASKS, N_WORKERS, N_BLOWS, LIMIT_S = 60, 4, 14, 150


class Crew:
    """Workers that are replaced when they end."""

    def __init__(self, address, folder):
        self._command = [sys.executable, "-c", WORKER, address, *map(str, Path(__file__).parents[:2])]
        self._folder = folder
        self.workers = [self._hire() for _ in range(N_WORKERS)]
        self.frozen = []

    def _hire(self):
        with (self._folder / "stderr").open("ab") as log:
            return subprocess.Popen(self._command, stderr=log)

    def replace_the_dead(self):
        self.workers = [worker if worker.poll() is None else self._hire() for worker in self.workers]

    def strike(self, draw):
        victim = draw.choice(self.workers)
        if draw.random() < 0.6:
            victim.kill()
        elif victim not in self.frozen:
            victim.send_signal(signal.SIGSTOP)
            self.frozen.append(victim)

    def thaw(self):
        while self.frozen:
            self.frozen.pop().send_signal(signal.SIGCONT)

    def dismiss(self):
        for worker in self.workers:
            worker.kill()
            worker.wait()


def open_tasks(ward):
    counts = ward.records.counts()
    return counts[TaskState.QUEUED] + counts[TaskState.LEASED]


@pytest.fixture
def crew(ward, tmp_path):
    crew = Crew(ward.address, tmp_path)
    yield crew
    crew.dismiss()


def test_each_task_is_answered_once_whoever_dies(ward, crew):
    draw = random.Random(7)
    names = [f"S{number}" for number in range(N_TASKS)]
    ward.enqueue(*names)
    ward.enqueue("poison 1", "poison 2", priority=5)
    deadline, blows = time.monotonic() + LIMIT_S, 0
    while open_tasks(ward):
        assert time.monotonic() < deadline, ward.records.counts()
        time.sleep(0.4)
        crew.replace_the_dead()
        if blows < N_BLOWS:
            blows += 1
            crew.strike(draw)
            if blows == N_BLOWS // 2:
                ward.enqueue("urgent", priority=STAT_PRIORITY)
        if blows % 4 == 0:
            crew.thaw()
    crew.thaw()
    time.sleep(1)  # what was frozen comes back with results that nobody wants
    tasks = {task.specimen: task for task in ward.records.tasks()}
    answered = sorted(result.specimen for result in ward.records.scan_results())
    assert answered == sorted([*names, "urgent"])
    assert len(ward.records.observations(latest_only=False)) == len(answered)
    quarantined = [name for name, task in tasks.items() if task.state is TaskState.QUARANTINED]
    assert sorted(quarantined) == ["poison 1", "poison 2"]
    assert {tasks[name].error_code for name in quarantined} == {WorkerDied.code}
    assert {tasks[name].kills for name in quarantined} == {3}
    assert all(task.kills == 0 for name, task in tasks.items() if name not in quarantined)
    said = [event.content["action"] for event in ward.records.audit_events()]
    assert said.count("predict") == len(answered)
    assert said.count("predict.fail") == 2
    assert ward.records.verify_audit().ok
