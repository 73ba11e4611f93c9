"""The process that holds a lock, and what can be known of whether it still lives."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds, or held, a run folder's lock.

    `started` are the kernel's ticks from boot to the process's start, `boot` names the boot and `namespace` the set of
    process numbers that `pid` is from; with all of them a number that was given out again is not taken for its
    predecessor. `job` is Slurm's, `since` is UTC, `released` too: None while held.
    """

    token: int
    host: str
    pid: int
    started: int
    boot: str
    namespace: str
    job: str | None
    since: str
    released: str | None = None

    def is_dead(self) -> bool:
        """Whether the process is known to be dead; of one on another machine that can't be known from here."""
        here = (socket.gethostname(), _boot(), _namespace())
        if not self.boot or (self.host, self.boot, self.namespace) != here:
            return False
        state, started = _process(self.pid)
        return state in {"", "Z", "X"} or started != self.started


def this_process(token: int, since: str, environ: Mapping[str, str] = os.environ) -> Owner:
    """This process as the owner of a lock from `since` on."""
    return Owner(
        token=token,
        host=socket.gethostname(),
        pid=os.getpid(),
        started=_process(os.getpid())[1],
        boot=_boot(),
        namespace=_namespace(),
        job=environ.get("SLURM_JOB_ID"),
        since=since,
    )


def _process(pid: int) -> tuple[str, int]:
    try:
        # the name of the program, in brackets, may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return fields[0], int(fields[19])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
