"""Why a process ended."""

import signal
from pathlib import Path

OUT_OF_MEMORY = "out of memory (SIGKILL, the kernel's OOM counter rose)"


class OomKills:
    """The kernel's count of processes that it killed for want of memory.

    Counted is the cgroup's own number where one can be read, the machine's otherwise.

    Args:
        root: where the file systems `proc` and `sys` are mounted.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._files = [*_cgroup_files(root), root / "proc/vmstat"]
        self._seen = self._count()

    def rose(self) -> bool:
        """Whether the count rose since this was last asked."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        for file in self._files:
            try:
                lines = [line.split() for line in file.read_text().splitlines()]
            except OSError:
                continue
            for line in lines:
                if len(line) == 2 and line[0] == "oom_kill":
                    return int(line[1])
        return 0


def _cgroup_files(root: Path) -> list[Path]:
    """Where the count of this process's cgroup may be read, version 2 first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    mount = root / "sys/fs/cgroup"
    files = []
    for line in sorted(lines):
        number, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if number == "0":
            # within a container the path may be the host's, and the mount already the cgroup itself
            files += [mount / inside / "memory.events", mount / "memory.events"]
        elif "memory" in controllers.split(","):
            files += [mount / "memory" / inside / "memory.oom_control", mount / "memory/memory.oom_control"]
    return files


def describe_end(returncode: int, *, killed: str | None, oom: bool) -> str:
    """The cause of an ending, such as `exit 1`, `SIGSEGV` or `killed: hung`.

    Args:
        returncode: as `subprocess` gives it.
        killed: why the supervisor killed the process, None where it didn't.
        oom: whether the kernel killed a process for want of memory.
    """
    if returncode >= 0:
        return f"exit {returncode}"
    if killed is not None and returncode == -signal.SIGKILL:
        return f"killed: {killed}"
    if returncode == -signal.SIGKILL and oom:
        return OUT_OF_MEMORY
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
