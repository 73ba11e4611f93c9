"""What the system says of a running process."""

import os
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK_S: Final = 1.0 / os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12  # of the fields after the name, proc(5)


def private_bytes(pid: int) -> int:
    """Resident memory that is the process's own, without mapped files and shared buffers; 0 where it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def open_files(pid: int) -> int:
    """The number of open file descriptors, 0 where the process is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only the number is wanted, not paths
    except OSError:
        return 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, 0 where the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) * _TICK_S
