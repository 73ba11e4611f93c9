import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.training.checkpoints import list_checkpoints, verify
from training.checkpoints.states import flip_bit

CHILD = Path(__file__).with_name("rank_child.py")


def meeting(rank, world, port):
    """What a process finds its peers by."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def together(world, what, kind, folder, out):
    """What each of `world` real processes told."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, str(CHILD), what, kind, str(folder), str(out)],
            env=os.environ | meeting(rank, world, port),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        errors = [process.communicate(timeout=400)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * world, errors
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(world)]


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_a_state_saved_on_two_ranks_loads_on_one(kind, tmp_path):
    saved = together(2, "save", kind, tmp_path / "task", tmp_path / "a")
    assert [one["error"] for one in saved] == [None, None]
    assert saved[0] == saved[1]
    loaded = together(1, "load", kind, tmp_path / "task", tmp_path / "b")
    assert [one["bits"] for one in loaded] == [saved[0]["bits"]]
    writers = {path.name[:4] for path in (tmp_path / "task" / "step-00000003").glob("*.distcp")}
    assert writers == {"__0_", "__1_"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
@pytest.mark.parametrize(("before", "after"), [(2, 3), (1, 2), (3, 2), (2, 2)])
def test_a_state_loads_on_another_number_of_ranks(kind, before, after, tmp_path):
    saved = together(before, "save", kind, tmp_path / "task", tmp_path / "a")
    loaded = together(after, "load", kind, tmp_path / "task", tmp_path / "b")
    assert {one["bits"] for one in loaded} == {one["bits"] for one in saved}
    assert len({one["bits"] for one in saved}) == 1


def test_a_disk_that_fails_on_one_rank_fails_the_save_on_all_and_the_next_works(tmp_path):
    told = together(2, "refuse", "replicated", tmp_path / "task", tmp_path / "a")
    assert told[0] == told[1]
    first, second, third = told[0]["said"]
    assert (first, third, told[0]["n_failed"]) == (None, None, 1)
    assert "rank 1" in second
    assert [step for step, _ in list_checkpoints(tmp_path / "task")] == [3, 1]
    assert all(verify(path).is_valid for _, path in list_checkpoints(tmp_path / "task"))
    assert sorted(path.name for path in (tmp_path / "task").iterdir()) == ["step-00000001", "step-00000003"]


@pytest.mark.slow
def test_what_stops_one_rank_stops_all_with_the_same_code(tmp_path):
    lost = together(2, "lose", "replicated", tmp_path / "task", tmp_path / "a")
    assert [one["code"] for one in lost] == ["PEL-TRAIN-023"] * 2
    assert list_checkpoints(tmp_path / "task") == []
    differ = together(2, "differ", "replicated", tmp_path / "task", tmp_path / "b")
    assert all("differ in their names" in one["said"][0] for one in differ)


@pytest.mark.slow
def test_all_ranks_fall_back_to_the_same_checkpoint_or_all_refuse(tmp_path):
    together(2, "save", "sharded", tmp_path / "task", tmp_path / "a")
    (_, newest), *_ = list_checkpoints(tmp_path / "task")
    flip_bit(newest / "__1_0.distcp")
    refused = together(2, "load", "sharded", tmp_path / "task", tmp_path / "b")
    assert [one["code"] for one in refused] == ["PEL-TRAIN-020"] * 2
