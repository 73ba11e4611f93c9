"""A process that takes a run folder's lock; told by arguments what to do then, and answers line by line.

`hold RUN`: take the lock, say `token N` or `refused CODE`, hold it until a line comes, release, end.
`commit RUN PHASE`: take the lock, save step 1, stop itself at PHASE while saving step 1 or 2, and tell what came of it.
"""

import os
import signal
import sys
from pathlib import Path

from pellucid.core.errors import PellucidError
from pellucid.training.checkpoints import RunLock

LEASE_S, RENEW_S = 2.0, 0.2


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hold(run):
    with RunLock(run, lease_s=LEASE_S, renew_s=RENEW_S) as lock:
        say(f"token {lock.token}")
        sys.stdin.readline()


class StopsAfterConfirming:
    """The lock as it is, in a process that is stopped right after it found that all is well."""

    def __init__(self, lock):
        self._lock = lock
        self.token = lock.token
        self.armed = False

    def confirm(self):
        self._lock.confirm()
        if self.armed:
            self.armed = False
            stop()


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def commit(run, phase):
    import torch

    from pellucid.training.checkpoints import Checkpoints, Retention, RunIdentity
    from pellucid.training.ranks import Ranks

    armed = False

    def trace(name):
        if armed and name == phase:
            stop()
        if armed and name == "rename":
            guarded.armed = phase == "confirmed"

    guarded = StopsAfterConfirming(RunLock(run, lease_s=LEASE_S, renew_s=RENEW_S))
    checkpoints = Checkpoints(
        run / "checkpoints" / "head",
        identity=RunIdentity(config="a", software="b", cohort="c"),
        retention=Retention(),
        ranks=Ranks(),
        lock=guarded,
        trace=trace,
    )
    parts = {"model": torch.nn.Linear(3, 2)}
    say(f"saved {checkpoints.save(parts, step=1, reason='interval').step}")
    armed = True
    saved = checkpoints.save(parts, step=1 if phase == "replace" else 2, reason="interval")
    say(f"saved {saved.step} {saved.error}")


def main():
    run = Path(sys.argv[2])
    try:
        if sys.argv[1] == "hold":
            hold(run)
        else:
            commit(run, sys.argv[3])
    except PellucidError as error:
        say(f"refused {error.code}")


if __name__ == "__main__":
    main()
