"""Whether a process waits in the system, for a disk or share that doesn't answer, rather than works or loops."""

from pathlib import Path
from typing import Final

_DISK_SLEEP: Final = "D"


def waits_in_system(pid: int) -> bool:
    """Whether a thread of the process sleeps uninterruptibly, proc(5); False where the process is gone."""
    try:
        return any(_state(task) == _DISK_SLEEP for task in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False


def is_gone(pid: int) -> bool:
    """Whether there is no such process, not even one that nobody waited for."""
    return not Path(f"/proc/{pid}").exists()


def _state(task: Path) -> str:
    # the name in parentheses may hold spaces and parentheses
    return (task / "stat").read_text().rpartition(")")[2].split()[0]
