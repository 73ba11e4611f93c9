"""Real trainings, killed and started again: they end as if nothing had happened."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pellucid.bundle import SigningKey
from pellucid.cohort import SynthesisConfig, synthesise
from pellucid.training.journal import read_lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_CONFIG = """
mode = "end_to_end"
n_passes = 4
min_per_class = 2
ensemble_heads = 1
workers = 1
[end_to_end]
encoder = "pellucid-small"
tiles_per_slide = 12
chunk = 5
epochs = 4
share = 0.5
learning_rate = 1e-3
warm_up_epochs = 1
precision = "float32"
activation_checkpointing = false
validation = 0.2
max_failed = 0.6
readers = 1
[head]
epochs = 2
[checkpoints]
least_minutes = 0.005
most_minutes = 0.005
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a cohort, a key and a configuration."""
    folder = tmp_path_factory.mktemp("killed")
    config = SynthesisConfig(
        n_training=10, n_tuning=6, n_test=1, slide_px=1536, strength_mean=1.0, strength_sd=0.0, p_fine=0.0
    )
    synthesise(folder / "c", config, workers=1)
    SigningKey.generate().save(folder / "k.pem")
    (folder / "run.toml").write_text(_CONFIG)
    return folder


def start(place: Path, run: str, *options: str, **environ: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "pellucid",
        "train",
        str(place / "c" / "cohort.csv"),
        "--key",
        str(place / "k.pem"),
    ]
    return subprocess.Popen(
        [*command, "--out", str(place / run), "--config", str(place / "run.toml"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environ,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def steps_done(run: Path) -> int:
    status = run / "status.json"
    return json.loads(status.read_text()).get("step", 0) if status.exists() else 0


def model_of(run: Path) -> str:
    return json.loads((run / "bundle" / "manifest.json").read_text())["model_digest"]


def losses_of(run: Path) -> list[float]:
    lines = [one for one in read_lines(run / "metrics.jsonl") if one["task"] == "joint" and "kind" not in one]
    assert [one["step"] for one in lines] == list(range(len(lines)))
    return [one["loss"] for one in lines]


@pytest.fixture(scope="module")
def undisturbed(place):
    finish(start(place, "undisturbed"))
    return place / "undisturbed"


def test_a_training_killed_again_and_again_ends_with_the_same_bits(place, undisturbed):
    chance, run = random.Random(4), place / "killed"
    kills = 0
    while kills < 5:
        process = start(place, "killed")
        until = time.monotonic() + 300
        aim = steps_done(run) + chance.randrange(3)
        while process.poll() is None and time.monotonic() < until and steps_done(run) < max(1, aim):
            time.sleep(0.05)
        time.sleep(chance.random())
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()[0]
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    if not (run / "bundle").exists():
        finish(start(place, "killed"))
    assert kills >= 3
    assert model_of(run) == model_of(undisturbed)
    assert losses_of(run) == losses_of(undisturbed)


def test_a_schedulers_warning_saves_and_ends_with_the_code_to_start_again(place, undisturbed):
    run = place / "warned"
    process = start(place, "warned")
    while process.poll() is None and steps_done(run) < 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR2)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 75, output
    reasons = [one.get("reason") for one in read_lines(run / "events.jsonl") if one["event"] == "checkpoint"]
    assert reasons[-1] == "signal"
    finish(start(place, "warned"))
    assert model_of(run) == model_of(undisturbed)


def test_another_configuration_is_refused_unless_forced_and_that_is_recorded(place, undisturbed):
    run = place / "other"
    process = start(place, "other")
    while process.poll() is None and steps_done(run) < 2:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    refused = start(place, "other", "--seed", "9")
    output, _ = refused.communicate(timeout=300)
    assert refused.returncode == 1
    assert "PEL-TRAIN-02" in output
    assert "config" in output
    finish(start(place, "other", "--seed", "9", "--force"))
    forced = [one for one in read_lines(run / "events.jsonl") if one["event"] == "forced"]
    assert "config" in next(one["differs"] for one in forced)
    assert json.loads((run / "run.json").read_text())["forced"] is True
    assert model_of(run) != model_of(undisturbed)


def test_a_slide_that_goes_away_in_mid_training_is_replaced_and_the_replay_is_the_same(place, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(place / "c", folder / "c")
    for name in ("k.pem", "run.toml"):
        shutil.copy(place / name, folder / name)
    run = folder / "run"
    process = start(folder, "run")
    while process.poll() is None and steps_done(run) < 2:
        time.sleep(0.02)
    slides = sorted((folder / "c" / "slides").iterdir())
    broken = {path: path.read_bytes() for path in slides[:3]}
    for path in broken:
        path.write_bytes(b"no slide")
    while process.poll() is None and not (run / "failures.jsonl").exists():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    for path, data in broken.items():
        path.write_bytes(data)
    failures = (run / "failures.jsonl").read_text()
    assert len(failures.splitlines()) >= 1
    finish(start(folder, "run"))
    assert (run / "failures.jsonl").read_text().startswith(failures)
    # from nothing, with every slide whole: what the book says is all that decides
    again = folder / "again"
    again.mkdir()
    shutil.copy(run / "failures.jsonl", again / "failures.jsonl")
    finish(start(folder, "again"))
    assert losses_of(again) == losses_of(run)
    assert model_of(again) == model_of(run)


def test_two_ranks_end_as_near_to_one_as_sums_allow(place, undisturbed):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [start(place, "two", RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    for process in ranks:
        finish(process)
    assert losses_of(place / "two") == pytest.approx(losses_of(undisturbed), rel=1e-3)
