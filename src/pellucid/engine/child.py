"""The loop of a process of the engine: set up, then job after job until it is asked to stop."""

import argparse
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Final, Protocol

from pellucid.core.errors import PellucidError
from pellucid.engine.buffers import Buffers
from pellucid.engine.connection import Connection
from pellucid.engine.messages import Alive, Answer, Job, Message, Ready, Refused, Setup, Stop, Unfit
from pellucid.engine.process import set_apart, take_role

_IDLE_S: Final = 20.0
_CV2_OUT_OF_MEMORY: Final = -4

Step = Callable[[], None]
"""Called at each step of a job: the process makes progress."""


class ProcessUnusable(BaseException):
    """The process can't go on, whatever the next job is: it ends, and another takes its place."""


class Work(Protocol):
    """What a process does."""

    @property
    def detail(self) -> str:
        """With what it does it, such as a device's name."""
        ...

    def do(self, job: Job, *, step: Step, waited_s: float) -> Answer:
        """Do a job.

        Args:
            job: the job.
            step: to be called at each step of a long job.
            waited_s: how long the process had nothing to do before.

        Raises:
            PellucidError: the job can't be done; the process goes on.
            MemoryError, ProcessUnusable: the process must end.
        """
        ...

    def rest(self) -> None:
        """Let go of what is kept for a next job: nothing came for a while."""
        ...


def run(make: Callable[[Setup, Buffers], Work]) -> None:
    """Be a process of the engine: the main of a module that `start_child` starts.

    Args:
        make: makes the process's work from its setup and its buffers, which live as long as the process. A coded
            error there means that another process could not be set up either.
    """
    arguments = _arguments()
    set_apart(arguments.parent)
    connection = Connection(socket.socket(fileno=arguments.fd))
    setup = connection.receive()
    if setup is None:
        return
    assert isinstance(setup, Setup)
    take_role(setup.role)
    try:
        work = make(setup, Buffers.attach(arguments.buffers, setup.buffers))
    except PellucidError as error:
        connection.send(Unfit(code=error.code, message=error.message, remedy=error.remedy or None))
        return
    connection.send(Ready(detail=work.detail))
    try:
        _serve(connection, work)
    except ConnectionError:
        sys.exit("the supervisor is gone")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A process of Pellucid's engine; only its supervisor starts it.")
    for name in ("--fd", "--buffers", "--parent"):
        parser.add_argument(name, type=int, required=True)
    return parser.parse_args()


def _serve(connection: Connection, work: Work) -> None:
    while True:
        message = _next(connection, work)
        if message is None or isinstance(message, Stop):
            return
        connection.send(_answer(message, connection, work))


def _next(connection: Connection, work: Work) -> Message | None:
    try:
        return connection.receive(_IDLE_S)
    except TimeoutError:
        work.rest()
        return connection.receive()


def _answer(job: Message, connection: Connection, work: Work) -> Answer:
    number: int = job.job  # type: ignore[union-attr]
    waited_s = connection.waited_s()
    try:
        return work.do(job, step=lambda: connection.send(Alive(job=number)), waited_s=waited_s)  # type: ignore[arg-type]
    except (MemoryError, ConnectionError):
        raise
    except PellucidError as error:
        return Refused(job=number, code=error.code, message=error.message, remedy=error.remedy or None)
    except Exception as error:  # one job's fault must not end the process; it is recorded
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        trace = traceback.format_exc()
        return Refused(job=number, code="", message=f"{type(error).__name__}: {error}", trace=trace)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or OpenCV's, ran out."""
    if isinstance(error, MemoryError):
        return True
    return type(error).__module__.startswith("cv2") and getattr(error, "code", None) == _CV2_OUT_OF_MEMORY
