"""Who holds a lease: a process named so that its death can be told on the same machine."""

import os
import socket
from functools import cache
from pathlib import Path

_DEAD_STATES = {"Z", "X", "x"}  # proc(5): a process that ended and wasn't waited for holds no work
_UNKNOWN = "?"
_STATE, _START = 0, 19  # fields 3 and 22 of proc(5)


def process_owner() -> str:
    """This process as `host:pid:start`, where `start` tells it from any other process of that number."""
    stat = _stat(os.getpid())
    return f"{socket.gethostname()}:{os.getpid()}:{_UNKNOWN if stat is None else _start(stat)}"


def range_here() -> tuple[str, str]:
    """The owners of this machine as texts: from the first on, and before the second."""
    return f"{socket.gethostname()}:", f"{socket.gethostname()};"  # the semicolon follows the colon


def is_dead(owner: str) -> bool:
    """Whether the owner was a process of this machine that ended; False where that can't be known."""
    place, _, start = owner.rpartition(":")
    host, _, pid = place.rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal() or not _same_namespace(start):
        return False
    if not _exists(int(pid)):
        return True
    stat = _stat(int(pid))
    if stat is None or start == _UNKNOWN:
        return False
    return stat[_STATE] in _DEAD_STATES or _start(stat) != start


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _stat(pid: int) -> list[str] | None:
    """A process's fields as proc(5) counts them, from the third on; None where the system doesn't show them."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the command in parentheses, which may hold spaces and parentheses itself.
    return text.rpartition(")")[2].split()


def _start(stat: list[str]) -> str:
    """Boot, process namespace and clock ticks since boot: never the same for two processes."""
    return f"{_boot_id()}-{_namespace()}-{stat[_START]}"


def _same_namespace(start: str) -> bool:
    """Process numbers of another container on the same host mean nothing here."""
    parts = start.split("-")
    return len(parts) != 3 or parts[1] == _namespace()


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return _UNKNOWN


@cache
def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return _UNKNOWN
