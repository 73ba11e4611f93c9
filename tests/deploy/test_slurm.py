"""deploy/slurm/train.sbatch in a real Slurm: trainings that are killed, warned, preempted and cancelled."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pellucid.cohort import SynthesisConfig, synthesise
from slurm_lab import running_lab, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPT = Path(__file__).parents[2] / "deploy" / "slurm" / "train.sbatch"
CONFIG = """
mode = "end_to_end"
name = "slurm-lab"
n_passes = 4
min_per_class = 2
ensemble_heads = 1

[end_to_end]
encoder = "pellucid-small"
precision = "float32"
activation_checkpointing = false
tiles_per_slide = 8
chunk = 4
epochs = 8
share = 1.0
learning_rate = 1e-4
final_learning_rate = 1e-5
validation = 0.0
ahead = 1
readers = 1

[checkpoints]
least_minutes = 0.01
most_minutes = 0.02

[head]
epochs = 3
"""
TWO_NODES = ("--nodes=2", "--ntasks-per-node=1")
LONG_S = 600.0


@pytest.fixture(scope="module")
def lab():
    with running_lab(n_nodes=2, cpus=1, requeue_s=5, kill_wait_s=90, grace_s=30) as lab:
        lab.environ |= {"PATH": f"{Path(sys.executable).parent}:{lab.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        yield lab


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a cohort, settings and a key."""
    folder = tmp_path_factory.mktemp("study")
    config = SynthesisConfig(
        n_training=8,
        n_tuning=6,
        n_test=0,
        special=(),
        slide_px=1536,
        strength_mean=1.0,
        strength_sd=0.0,
        p_fine=0.0,
        p_second_scan=0.0,
    )
    synthesise(folder / "cohort", config, workers=1)
    (folder / "run.toml").write_text(CONFIG)
    subprocess.run([_pellucid(), "keys", "generate", str(folder / "key")], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(study):
    """The model's digest after a training of two ranks that nothing disturbs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = study / "undisturbed"
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [_pellucid(), "train", *_arguments(study, run)],
            env=shared | {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for rank in ranks:
        _, errors = rank.communicate(timeout=LONG_S)
        assert rank.returncode == 0, errors[-3000:]
    return _model(run)


def test_a_killed_rank_is_restarted_in_the_allocation_and_nothing_of_the_model_changes(lab, study, undisturbed):
    run = study / "killed"
    job = _submit(lab, study, run)
    _wait_for_steps(lab, job, run)
    os.kill(_rank_pid(job, 1), signal.SIGKILL)
    _wait_for_end(lab, job, run)
    assert lab.state(job) == "COMPLETED", _log(run)
    assert lab.restarts(job) == 0
    assert "crash 1 of at most 3" in _log(run)
    assert _resumed_at(run)[0] > 0
    assert _model(run) == undisturbed
    assert not Path(f"{run}.job-{job}").exists()


def test_a_warned_training_is_saved_requeued_and_ends_with_the_same_model(lab, study, undisturbed):
    run = study / "warned"
    job = _submit(lab, study, run)
    _wait_for_steps(lab, job, run)
    lab.run("scancel", "--signal=USR2", job)
    wait_until(lambda: lab.restarts(job) == 1, LONG_S, lambda: _log(run))
    saved = _last(run, "checkpoint")
    assert saved["reason"] == "signal"
    _wait_for_end(lab, job, run)
    assert lab.state(job) == "COMPLETED", _log(run)
    assert lab.restarts(job) == 1
    assert "crash" not in _log(run)
    assert _resumed_at(run) == [saved["step"]]
    assert _model(run) == undisturbed


def test_slurm_requeues_a_preempted_training_and_a_cancelled_one_is_saved_and_stays_cancelled(lab, study):
    run = study / "cancelled"
    job = _submit(lab, study, run)
    _wait_for_steps(lab, job, run)
    lab.run("sbatch", "--partition=urgent", *TWO_NODES, "--output=/dev/null", "--wrap", "true")
    wait_until(lambda: lab.restarts(job) == 1, LONG_S, lambda: _log(run))
    preempted_at = _last(run, "checkpoint")["step"]
    wait_until(lambda: _resumed_at(run) == [preempted_at], LONG_S, lambda: _log(run))
    _wait_for_steps(lab, job, run, beyond=preempted_at)
    lab.run("scancel", job)
    _wait_for_end(lab, job, run)
    assert lab.state(job) == "CANCELLED", _log(run)
    assert lab.restarts(job) == 1
    saved = _last(run, "checkpoint")
    assert saved["reason"] == "signal"
    assert (run / "checkpoints" / "joint" / f"step-{saved['step']:08d}" / "MANIFEST.json").exists()
    assert "crash" not in _log(run)


def test_a_training_that_crashes_without_progress_is_given_up_and_progress_refills_its_budget(lab, tmp_path):
    # a checkpoint before each of the first four crashes, none before the last two
    calls = _stand_in(
        tmp_path,
        '[ "$n" -le 4 ] && mkdir -p "$run/checkpoints/joint/step-$(printf %08d "$n")"; exit 9',
    )
    job = _submit_stand_in(lab, tmp_path, calls)
    _wait_for_end(lab, job, tmp_path / "run")
    assert lab.state(job) == "FAILED"
    assert lab.exit_code(job) == 1
    assert len(list(calls.iterdir())) == 6


def test_only_the_warned_task_of_an_array_is_requeued(lab, tmp_path):
    # the last task has the array's own number
    calls = _stand_in(tmp_path, '[ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ ! -e "$run" ] && mkdir "$run" && exit 75; exit 0')
    job = _submit_stand_in(lab, tmp_path, calls, "--array=0-1")
    _wait_for_end(lab, job, tmp_path / "run")
    assert [lab.restarts(f"{job}_{task}") for task in (0, 1)] == [0, 1]
    assert [lab.state(f"{job}_{task}") for task in (0, 1)] == ["COMPLETED", "COMPLETED"]
    assert len(list(calls.iterdir())) == 3


def test_a_training_that_is_warned_before_it_gets_anywhere_is_not_requeued_for_ever(lab, tmp_path):
    calls = _stand_in(tmp_path, "exit 75")
    job = _submit_stand_in(lab, tmp_path, calls)
    _wait_for_end(lab, job, tmp_path / "run")
    assert lab.state(job) == "FAILED"
    assert "Nothing was saved in 3 starts" in _log(tmp_path / "run")
    assert len(list(calls.iterdir())) == 4


def test_the_lab_leaves_no_process_behind():
    with running_lab(n_nodes=1) as lab:
        pids, folder = lab.pids, lab.folder
        assert lab.run("srun", "hostname")
        assert len(pids) == 3
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert not folder.exists()


def _pellucid():
    return str(Path(sys.executable).parent / "pellucid")


def _arguments(study, run):
    files = [str(study / "cohort" / "cohort.csv"), "--config", str(study / "run.toml"), "--key", str(study / "key")]
    return [*files, "--out", str(run)]


def _submit(lab, study, run):
    table, _, config, _, key, _, out = _arguments(study, run)
    return lab.submit(SCRIPT, table, config, key, out, options=(*TWO_NODES, f"--output={run}.log"))


def _stand_in(folder, body):
    """A `pellucid` for what only the script decides; the folder with a file for each call of it."""
    calls = folder / "calls"
    calls.mkdir()
    program = folder / "bin" / "pellucid"
    program.parent.mkdir()
    run = folder / "run"
    program.write_text(
        f"#!/bin/bash\nrun={run}; touch {calls}/$SLURM_JOB_ID-$RANDOM$RANDOM; n=$(ls {calls} | wc -l)\n{body}\n"
    )
    program.chmod(0o755)
    return calls


def _submit_stand_in(lab, folder, calls, *options):
    environ = f"--export=ALL,PATH={folder / 'bin'}:{lab.environ['PATH']}"
    files = (f"--output={folder / 'run'}.log", environ)
    return lab.submit(SCRIPT, "table", "config", "key", str(folder / "run"), options=(*options, *files))


def _rank_pid(job, rank):
    for process in psutil.process_iter():
        try:
            command, environ = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        is_rank = environ.get("SLURM_JOB_ID") == job and environ.get("SLURM_PROCID") == str(rank)
        if is_rank and command[1:3] == [_pellucid(), "train"]:
            return process.pid
    raise AssertionError(f"rank {rank} of job {job} doesn't run")


def _wait_for_steps(lab, job, run, beyond=0):
    """Until a checkpoint beyond a step is there, in mid-training."""

    def there():
        assert lab.state(job) in {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}, _log(run)
        return any(int(path.name[5:]) > beyond for path in (run / "checkpoints" / "joint").glob("step-*"))

    wait_until(there, LONG_S, lambda: _log(run))
    assert not (run / "checkpoints" / "member-1").exists()


def _wait_for_end(lab, job, run):
    wait_until(lambda: not lab.run("squeue", "-h", "-j", job), LONG_S, lambda: _log(run))


def _events(run):
    file = run / "events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _last(run, name):
    return next(event for event in reversed(_events(run)) if event["event"] == name)


def _resumed_at(run):
    return [event["step"] for event in _events(run) if event["event"] == "resumed" and event["task"] == "joint"]


def _model(run):
    return json.loads((run / "training.json").read_text())["model_digest"]


def _log(run):
    log = Path(f"{run}.log")
    return log.read_text()[-4000:] if log.exists() else "no log"
