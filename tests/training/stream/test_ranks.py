"""The same steps on one rank and on two."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tile_slides
from pellucid.training.stream import read_failures

PARTS = Path(__file__).parent / "parts"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Stream on so many ranks, from slides of which one has unreadable tiles, and lose the named one."""
    pristine = tile_slides.fill(tmp_path_factory.mktemp("pristine"), s0=(2, 7))

    def on(world, lost):
        folder = tmp_path_factory.mktemp("ranks")
        slides = Path(shutil.copytree(pristine, folder / "slides"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        paths = [str(PARTS), str(Path(tile_slides.__file__).parent)]
        common = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(world)}
        common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, str(PARTS / "one_rank.py"), str(slides), str(folder), str(slides / lost)]
        ranks = [
            subprocess.Popen(
                command,
                env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        try:
            for rank in ranks:
                _, said = rank.communicate(timeout=300)
                assert rank.returncode == 0, said[-4000:]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        return folder

    return on


def loaded(folder, rank, step):
    with np.load(folder / f"{rank}-{step}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def both(run):
    lost = "s3.tif"
    return run(1, lost), run(2, lost)


def test_two_ranks_hold_together_what_one_holds(both):
    alone, together = both
    dropped = 0
    for step in range(9):
        whole, parts = loaded(alone, 0, step), [loaded(together, rank, step) for rank in range(2)]
        for name in ("scan", "tiles", "n_chunks"):
            assert all(np.array_equal(part[name], whole[name]) for part in parts), (step, name)
        order = np.argsort(np.concatenate([part["rows"] for part in parts]))
        for name in ("rows", "chunks", "pixels"):
            assert np.array_equal(np.concatenate([part[name] for part in parts])[order], whole[name]), (step, name)
        for rank, part in enumerate(parts):
            assert set((part["chunks"] % 2).tolist()) == {rank}
            assert (np.diff(part["rows"]) > 0).all()
        dropped += len(whole["tiles"]) < 40
    assert dropped, "no step had an unreadable tile"


def test_both_fail_and_replace_the_same_slide(both):
    books = [read_failures(folder / "failures.jsonl") for folder in both]
    assert [(one.slide, one.code) for one in books[0]] == [("s3", "PEL-SLIDE-001")] * len(books[0])
    assert len(books[0]) >= 1
    # the message names the run's own folder
    assert [(one.step, one.attempt, one.scan) for one in books[0]] == [
        (one.step, one.attempt, one.scan) for one in books[1]
    ]
