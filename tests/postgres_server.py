"""A PostgreSQL server that belongs to one test session: Debian's package, on a socket, with no port and no password."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

_USER = "postgres"  # the server refuses to run as root; Debian's package makes this account
_FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_START_S = 30.0


class PostgresServer:
    """One server with a folder of its own.

    Args:
        durable: write through to the disk as in use; a test that kills no machine needs it not.
        settings: further settings of the server.
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        self._binaries = _find_binaries()
        # Not pytest's folder: the server's account could not enter it. A socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="pellucid-pg-", dir="/tmp"))
        self._settings = {"max_connections": "80", "shared_buffers": "128MB"}
        self._settings |= ({} if durable else _FAST) | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        command = ["initdb", "-D", str(self.folder / "data"), "-U", "pellucid", "-A", "trust", "--locale=C"]
        self._run([*command, "-E", "UTF8", "--no-sync"])

    @property
    def pid(self) -> int:
        """The server's first process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://pellucid@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        command = ["postgres", "-D", str(self.folder / "data"), "-k", str(self.folder), "-c", "listen_addresses="]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._as_user([*command, *options]), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL didn't start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends its sessions first, SIGQUIT is a crash of it."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_START_S)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server, its sessions with it, and start it again."""
        self.stop(how)
        self.start()

    def close(self) -> None:
        """End the server and remove all of it."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the server's owner; the rows that it gave."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return [] if cursor.description is None else cursor.fetchall()

    def fresh_database(self, *, template: str = "template0") -> str:
        """The name of a new database, empty or a copy of `template`, to which nobody may be connected."""
        name = f"records_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _answers(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self.folder), "-U", "pellucid", "-d", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(self._as_user(command), capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")

    def _as_user(self, command: list[str]) -> list[str]:
        full = [str(self._binaries / command[0]), *command[1:]]
        if os.geteuid() != 0:
            return full
        # The server ends with whoever started it, even where that is killed.
        return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", "--pdeathsig=QUIT", *full]


@contextlib.contextmanager
def running_server(*, durable: bool = False, settings: dict[str, str] | None = None) -> Iterator[PostgresServer]:
    """A server for as long as the block lasts."""
    server = PostgresServer(durable=durable, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _find_binaries() -> Path:
    """The newest of Debian's versions, or whatever is on the path."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    if found is None:
        raise RuntimeError("The tests need a PostgreSQL server: apt-get install postgresql")
    return Path(found).parent
