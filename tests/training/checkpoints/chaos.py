"""Killing trainings: processes that are warm before they are needed, and what a run has to suffer."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pellucid.core.seeds import generator
from training.checkpoints.chaos_child import Job

TESTS = Path(__file__).parents[2]
PATIENCE_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Where an incarnation is killed: at the `nth` beginning of `phase`, or after `delay_s`; all ranks or one."""

    phase: str = ""
    nth: int = 1
    delay_s: float = 0.0
    rank: int | None = None


class Incarnation:
    """The processes of one start of a training, up to being ready; then it is told its job."""

    def __init__(self, world=1):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        meeting = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "training.checkpoints.chaos_child"],
                cwd=TESTS,
                env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        self.lines = queue.Queue()
        self._ears = [threading.Thread(target=self._hear, args=(process,), daemon=True) for process in self.processes]
        for ear in self._ears:
            ear.start()

    def _hear(self, process):
        for line in process.stdout:
            self.lines.put(line.strip())
        self.lines.put("")

    def live(self, job, kill=None):
        """The digest it ends with; None where it was killed before.

        Raises:
            RuntimeError: it failed on its own.
        """
        for _ in self.processes:
            self._until("ready")
        if kill is not None and kill.phase:
            job = Job(**asdict(job) | {"phase": kill.phase, "nth": kill.nth})
        for process in self.processes:
            process.stdin.write(json.dumps(asdict(job)) + "\n")
            process.stdin.flush()
        try:
            return self._end_of(kill)
        finally:
            self.destroy()

    def _end_of(self, kill):
        if kill is None or kill.phase:
            said = self._until("paused", "end")
            if said != "paused":
                return said.split()[1]
        else:
            time.sleep(kill.delay_s)
        self._strike(kill.rank)
        ended = [said for said in self._rest() if said.startswith("end")]
        return ended[0].split()[1] if len(ended) == len(self.processes) else None

    def _strike(self, rank):
        struck = self.processes if rank is None else [self.processes[rank]]
        for process in struck:
            process.send_signal(signal.SIGKILL)
        # what is left waits for the dead; a scheduler kills it as well
        time.sleep(0.0 if rank is None else 0.05)
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait(PATIENCE_S)

    def _until(self, *words):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            said = self.lines.get(timeout=PATIENCE_S)
            if said.split(" ")[0] in words:
                return said
            if not said:
                raise RuntimeError("\n".join(process.stderr.read() for process in self.processes))
        raise TimeoutError(f"none of {words} in {PATIENCE_S} s")

    def _rest(self):
        for ear in self._ears:
            ear.join(PATIENCE_S)
        while not self.lines.empty():
            yield self.lines.get()

    def destroy(self):
        """Kill what still lives and close its pipes."""
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE_S)
        for ear in self._ears:
            ear.join(PATIENCE_S)
        for process in self.processes:
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()


class Nursery:
    """The next incarnations, importing torch while the present one trains."""

    def __init__(self, world=1, ahead=2):
        self._world, self._ahead, self._warm = world, ahead, []

    def next(self):
        while len(self._warm) <= self._ahead:
            self._warm.append(Incarnation(self._world))
        return self._warm.pop(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for incarnation in self._warm:
            incarnation.destroy()


def suffer(nursery, job, kills):
    """A run that is killed so, one after the other, and then left to end: its digest, and the kills that struck."""
    struck = []
    for kill in kills:
        ended = nursery.next().live(job, kill)
        if ended is not None:
            return ended, struck
        struck.append(kill)
    return nursery.next().live(job), struck


def random_kills(seed, n, longest_s):
    """Kills after a random time."""
    return [Kill(delay_s=float(delay)) for delay in generator("chaos", seed).uniform(0.0, longest_s, n)]
