"""Ranks agree on errors: one that fails ends all, none waits for it."""

import os
import socket
import subprocess
import sys

import pytest

from pellucid.training.errors import RanksInvalid
from pellucid.training.ranks import joined_ranks

_CHILD = """
from pellucid.core.errors import PellucidError
from pellucid.training.ranks import joined_ranks

def work(ranks):
    if ranks.rank == 1:
        raise FileNotFoundError(2, "No such file", "weights.bin")
    return ranks.rank

with joined_ranks(timeout_s=300) as ranks:
    assert ranks.agreed(lambda: ranks.rank) == ranks.rank
    try:
        ranks.agreed(lambda: work(ranks))
    except PellucidError as error:
        print(error.code, error.message)
    ranks.wait()
"""


def test_what_the_system_refuses_one_rank_is_the_same_coded_error_on_all():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    told = [child.communicate(timeout=300)[0] for child in children]
    assert told == ["PEL-CORE-006 weights.bin can't be used: No such file.\n"] * 2


def test_an_address_that_is_none_is_a_coded_error():
    environ = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}
    with pytest.raises(RanksInvalid, match="can't join"), joined_ranks(environ):
        pass
