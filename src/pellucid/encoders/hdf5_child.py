"""Feature files read by a process of their own: HDF5 can crash, or loop for ever, over a damaged file.

A file with a blank part, as copies that broke off leave, is enough: HDF5 1.14 walks a blank heap without end, and
nothing in the process that called it can stop it. The child has an allowance of CPU time for each file, not of wall
time, so that a busy machine or a slow disk never counts as damage.
"""

import multiprocessing
import resource
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pellucid.core.errors import PellucidError
from pellucid.encoders.bag import Bag
from pellucid.encoders.hdf5 import StatedFacts, read_feature_file
from pellucid.encoders.hdf5_errors import FeatureFileUnreadable
from pellucid.encoders.hdf5_layouts import FeatureTool

CPU_ALLOWANCE_S: Final = 60
_BYTES_A_CPU_SECOND: Final = 2_000_000

Request = tuple[Path, FeatureTool | None, StatedFacts]


class FeatureFileReader:
    """Reads feature files in a child process, which is replaced when a file has killed it.

    Args:
        cpu_s: CPU seconds for a file, besides those for its size.
    """

    def __init__(self, *, cpu_s: int = CPU_ALLOWANCE_S) -> None:
        self._cpu_s = cpu_s
        self._child: BaseProcess | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: Path, *, tool: FeatureTool | None, facts: StatedFacts) -> Bag:
        """`read_feature_file`, in the child.

        Raises:
            PellucidError: as `read_feature_file`; `FeatureFileUnreadable` also where HDF5 crashed or found no end.
        """
        connection = self._connected()
        try:
            connection.send((path, tool, facts))
            answer: Bag | PellucidError = connection.recv()
        except (EOFError, ConnectionError) as error:
            raise FeatureFileUnreadable(f"It is damaged: HDF5 {self._end()}.") from error
        if isinstance(answer, PellucidError):
            raise answer
        return answer

    def _connected(self) -> Connection:
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._child = context.Process(target=_serve, args=(theirs, self._cpu_s), daemon=True)
            self._child.start()
            # the child has its own: without this one closed, its death would not end the wait for an answer
            theirs.close()
        return self._connection

    def _end(self) -> str:
        """End the child, and say how it had ended by itself."""
        if self._connection is None or self._child is None:
            return "was not started"
        self._connection.close()
        self._child.join()
        code = self._child.exitcode
        self._connection = self._child = None
        return "came to no end reading it" if code == -signal.SIGXCPU else f"crashed reading it (exit status {code})"


def _serve(connection: Connection, cpu_s: int) -> None:
    """Answer requests until the parent closes its end."""
    while True:
        try:
            path, tool, facts = connection.recv()
        except EOFError:
            return
        _allow_cpu(cpu_s + _size(path) // _BYTES_A_CPU_SECOND)
        answer: Bag | PellucidError
        try:
            answer = read_feature_file(path, tool=tool, facts=facts)
        except PellucidError as error:
            answer = error
        connection.send(answer)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _allow_cpu(seconds: int) -> None:
    """Let this process use that much more CPU time; beyond it, the system ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
