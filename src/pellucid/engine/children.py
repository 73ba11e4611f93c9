"""The supervisor's side of its processes: started, spoken to, watched, and buried exactly once."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from pellucid.core.telemetry import logs
from pellucid.engine import vitals
from pellucid.engine.buffers import Buffers
from pellucid.engine.causes import OomKills, describe_end
from pellucid.engine.channel import Channel
from pellucid.engine.messages import Message, Ready, Role, Setup, Stop

UNKILLABLE: Final = "unkillable: it still hangs in the system long after SIGKILL"
_LAST_BYTES: Final = 8 << 10
_LOGGED_CHARACTERS: Final = 2000
_PIECE: Final = 1 << 16
_UNKILLABLE_S: Final = 30.0
_BLOCKED: Final = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended.

    `returncode` is as `subprocess` gives it, None for a process that outlived SIGKILL. `cause` says it in words and
    names nothing of a scan; `last_words` is the end of what the process wrote to its standard error, which may.
    `expected` is True where it was asked to stop and ended in good order.
    """

    role: Role
    number: int
    pid: int
    returncode: int | None
    cause: str
    last_words: str
    expected: bool


class Child:
    """One running process. Everything here belongs to the loop that started it."""

    def __init__(
        self,
        setup: Setup,
        process: "subprocess.Popen[bytes]",
        sock: socket.socket,
        stderr: int,
        on_message: "Callable[[Child, Message], None]",
        on_end: "Callable[[Child, Ending], None]",
    ) -> None:
        self.role: Final = setup.role
        self.number: Final = setup.number
        self.pid: Final = process.pid
        self.started_at: Final = time.monotonic()
        self.ready = False
        self._process = process
        self._on_message, self._on_end = on_message, on_end
        self._killed: str | None = None
        self._stopping = self._ended = False
        self._loop = asyncio.get_running_loop()
        self._overdue: asyncio.TimerHandle | None = None
        self._channel = Channel(sock, self._receive, lambda problem: self.kill(f"sent what is no message: {problem}"))
        self._stderr: int | None = stderr
        self._last = bytearray()
        self._loop.add_reader(stderr, self._listen)
        threading.Thread(target=self._await_end, name=f"watch-{self.pid}", daemon=True).start()

    @property
    def rss_bytes(self) -> int:
        """Resident memory that is the process's own, without shared buffers and mapped files; 0 once it is gone."""
        return 0 if self._ended else vitals.private_bytes(self.pid)

    @property
    def n_files(self) -> int:
        """Open file descriptors, 0 once it is gone."""
        return 0 if self._ended else vitals.open_files(self.pid)

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far, 0 once it is gone."""
        return 0.0 if self._ended else vitals.cpu_seconds(self.pid)

    def send(self, message: Message) -> None:
        """Send a message after those sent before, without waiting; to a dead process it is nothing."""
        self._stopping |= isinstance(message, Stop)
        self._channel.send(message)

    def stop(self) -> None:
        """Ask the process to end once it has done what it was sent."""
        self.send(Stop())

    def kill(self, cause: str) -> None:
        """End the process at once, whatever it does; the first cause given is that of its ending."""
        if self._ended or self._killed is not None:
            return
        self._killed = cause
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # its number can't be another's: only this loop reaps it
        self._overdue = self._loop.call_later(_UNKILLABLE_S, self._give_up)

    def _receive(self, message: Message) -> None:
        if isinstance(message, Ready):
            self.ready = True
        self._on_message(self, message)

    def _listen(self) -> bool:
        """Keep the end of what the process says on its standard error; whether there may be more."""
        if self._stderr is None:
            return False
        try:
            piece = os.read(self._stderr, _PIECE)
        except BlockingIOError:
            return False
        self._last += piece
        del self._last[:-_LAST_BYTES]
        if not piece:
            self._stop_listening()
        return bool(piece)

    def _stop_listening(self) -> None:
        if self._stderr is not None:
            self._loop.remove_reader(self._stderr)
            os.close(self._stderr)
            self._stderr = None

    def _await_end(self) -> None:
        """In a thread of its own: wait for the end without reaping, so that the number stays the process's."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        try:
            self._loop.call_soon_threadsafe(self._bury)
        except RuntimeError:  # the loop was closed before its processes ended
            self._process.wait()

    def _bury(self) -> None:
        returncode = self._process.wait()
        if self._ended:
            return
        oom = returncode == -signal.SIGKILL and self._killed is None and _oom_kills().rose()
        self._finish(returncode, describe_end(returncode, killed=self._killed, oom=oom))

    def _give_up(self) -> None:
        if not self._ended:
            self._finish(None, UNKILLABLE)

    def _finish(self, returncode: int | None, cause: str) -> None:
        self._channel.drain()
        while self._listen():
            pass
        self._ended = True
        if self._overdue is not None:
            self._overdue.cancel()
        self._channel.close()
        self._stop_listening()
        ending = Ending(
            role=self.role,
            number=self.number,
            pid=self.pid,
            returncode=returncode,
            cause=cause,
            last_words=self._last.decode(errors="replace").strip(),
            expected=self._stopping and returncode == 0,
        )
        _log(ending, killed=self._killed is not None)
        self._loop.call_soon(self._on_end, self, ending)  # behind the last messages


async def start_child(
    setup: Setup,
    buffers: Buffers,
    *,
    module: str,
    on_message: Callable[[Child, Message], None],
    on_end: Callable[[Child, Ending], None],
) -> Child:
    """Start a process and send it its setup; it is of use once it says `Ready`.

    The process can't be interrupted from a terminal and dies with this one. Call it in a thread that lives as long as
    the process shall: the system takes the end of that thread for the supervisor's.

    Args:
        setup: what the process is for.
        buffers: the shared memory that it maps.
        module: the module to run, with a main that is `engine.child.run`.
        on_message: called in the loop with each message, in order.
        on_end: called in the loop exactly once, after the process was waited for and its last message delivered.

    Raises:
        OSError: the system refuses.
    """
    ours, theirs = socket.socketpair()
    stderr, their_stderr = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(their_stderr, True)
    _oom_kills()
    try:
        process = _start(setup, buffers, module, theirs.fileno(), their_stderr)
    except OSError:
        ours.close()
        os.close(stderr)
        raise
    finally:
        theirs.close()
        os.close(their_stderr)
    child = Child(setup, process, ours, stderr, on_message, on_end)
    child.send(setup)
    return child


def _start(setup: Setup, buffers: Buffers, module: str, fd: int, stderr: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", module]
    command += ["--fd", str(fd), "--buffers", str(buffers.fd), "--parent", str(os.getpid())]
    # A signal from the terminal must not meet the process before it can say that it ignores it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        return subprocess.Popen(  # noqa: S603 - the command is made of numbers and a module's name
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=(fd, buffers.fd),
            env=os.environ | dict.fromkeys(_THREADS, str(setup.threads)),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@cache
def _oom_kills() -> OomKills:
    return OomKills()


def _log(ending: Ending, *, killed: bool) -> None:
    log = logs.get_logger("engine")
    about = {"role": str(ending.role), "number": ending.number, "cause": ending.cause}
    if ending.expected or killed:
        log.info("a process ended", **about)
    else:
        log.warning("a process died", **about, last_words=ending.last_words[-_LOGGED_CHARACTERS:])
