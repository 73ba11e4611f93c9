import os
import socket
import subprocess
import sys

import pytest

from pellucid.records import is_dead, process_owner


def test_this_process_lives():
    owner = process_owner()
    host, pid, _ = owner.rsplit(":", 2)
    assert (host, int(pid)) == (socket.gethostname(), os.getpid())
    assert not is_dead(owner)


def test_ended_process_is_dead():
    script = "from pellucid.records import process_owner; print(process_owner())"
    owner = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(owner)


def test_reused_process_number_is_another_process():
    boot, namespace, start = process_owner().rsplit(":", 1)[1].split("-")
    mine = f"{socket.gethostname()}:{os.getpid()}"
    assert is_dead(f"{mine}:{boot}-{namespace}-{int(start) - 1}")
    assert is_dead(f"{mine}:00000000-{namespace}-{start}")


def test_process_numbers_of_another_namespace_say_nothing():
    boot, _, start = process_owner().rsplit(":", 1)[1].split("-")
    assert not is_dead(f"{socket.gethostname()}:{2**22 + 1}:{boot}-1-{start}")


@pytest.mark.parametrize(
    "owner", ["", "worker", "elsewhere:1:1", f"{socket.gethostname()}:x:1", "::", f"{socket.gethostname()}:1:?"]
)
def test_owner_that_says_nothing_is_not_declared_dead(owner):
    assert not is_dead(owner)
