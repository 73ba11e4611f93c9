"""A training that is killed again and again leaves one whole record."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from journals import board_shows
from pellucid.training.journal import TrainingState, read_lines, read_status
from pellucid.training.journal.health import Life, look_at_training

TESTS = Path(__file__).parents[2]
N_STEPS, EVERY = 1200, 50
CODE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from journals import Load, Rank, Save
from pellucid.training.journal import Journal
run = Path(sys.argv[1])
kept = run / "kept"
first = int(kept.read_text()) if kept.exists() else 0
with Journal(run, Rank(), watch_s=0.01, draw_s=0.2) as journal:
    journal.started()
    if first:
        journal.resumed("head", Load(step=first), {N_STEPS})
    else:
        journal.task_started("head", {N_STEPS})
    for number in range(first, {N_STEPS}):
        journal.step("head", number, {N_STEPS}, number // {EVERY}, {{"loss": 1.0 / (number + 1)}})
        if number % 10 == 0:
            print(number, flush=True)
        if (number + 1) % {EVERY} == 0:
            journal.epoch("head", number // {EVERY}, {{"score": 0.5}})
            journal.checkpoint("head", Save(step=number + 1))
            part = kept.with_suffix(".part")
            part.write_text(str(number + 1))
            part.replace(kept)
    journal.finished()
"""


@pytest.mark.slow
def test_twelve_kills_leave_every_step_once_in_lines_and_boards(tmp_path):
    run, draw, kills = tmp_path / "run", random.Random(4), 0
    while True:
        child = subprocess.Popen([sys.executable, "-c", CODE, str(run)], stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        if kills < 12:
            time.sleep(draw.uniform(0.0, 0.05))
            os.kill(child.pid, signal.SIGKILL)
            kills += child.wait() == -signal.SIGKILL
            child.stdout.close()
            assert look_at_training(run).life in {Life.DEAD, Life.FINISHED}
            continue
        child.communicate()
        assert child.returncode == 0
        break

    lines = [line for line in read_lines(run / "metrics.jsonl") if "kind" not in line]
    assert [line["step"] for line in lines] == list(range(N_STEPS))
    assert all(line["loss"] == 1.0 / (line["step"] + 1) for line in lines)
    scores = [line["epoch"] for line in read_lines(run / "metrics.jsonl") if "kind" in line]
    assert scores == list(range(N_STEPS // EVERY))
    values = {step: value for (tag, step), value in board_shows(run / "tensorboard" / "head").items() if tag == "loss"}
    assert sorted(values) == list(range(N_STEPS))
    events = [line["event"] for line in read_lines(run / "events.jsonl")]
    assert events.count("started") == 13
    assert events[-1] == "finished"
    assert read_status(run).state is TrainingState.FINISHED
    assert (run / "losses.png").stat().st_size > 1000
