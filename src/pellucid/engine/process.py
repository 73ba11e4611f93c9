"""How a process of the engine is set apart: who may interrupt it, with whom it dies, what it leaves."""

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from pellucid.engine.messages import Role

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_OOM_SCORES: Final = {Role.READER: 600, Role.POSTERIOR: 500, Role.DEVICE: 400}
"""How readily the kernel takes the process when memory runs out, 0 being as readily as the supervisor."""
IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What a terminal sends, a service manager, and a scheduler that warns every process of a job: the parent decides."""


def set_apart(parent: int) -> None:
    """Ignore what a terminal or a job's end sends, die with the supervisor, leave no core file.

    A core file would hold a patient's pixels. A process whose supervisor is gone already ends here.

    Args:
        parent: the supervisor's process number.
    """
    for one in IGNORED:
        signal.signal(one, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    faulthandler.enable()


def take_role(role: Role) -> None:
    """Take the role's name in the process table and its place in the line for the kernel's out-of-memory killer."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"pel-{role}".encode())
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORES[role]))
