"""One writer a run folder, on storage that several machines share: a lock whose holders are numbered.

Each holder has a claim, `RUN/.lock/<token>.json`, made in one step that only one process can win; the newest claim is
the holder's. While it lives, a thread of the holder touches its claim, and whoever waits for it watches that file
against a clock of its own: the clocks of two machines are never compared. Whoever finds the holder dead, or silent for
the length of the lease, makes the next claim. A holder that was only silent finds that claim when it confirms its own.

`RUN/lock.json` is a copy of the newest claim for people; nothing is decided by it.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pydantic

from pellucid.core.clock import utc_now
from pellucid.core.errors import StorageFull
from pellucid.core.files import storage_errors, write_json
from pellucid.core.serial import from_plain, to_plain
from pellucid.training.checkpoints.errors import RunLocked, RunLockLost
from pellucid.training.checkpoints.owner import Owner, this_process

LOCK_FILE: Final = "lock.json"
_CLAIMS: Final = ".lock"
LEASE_S: Final = 90.0
"""Longer than network file systems keep what they know of a file (NFS: 60 s)."""
RENEW_S: Final = 5.0
_LOOKS: Final = 20
_LOOK_S: Final = 0.25


class RunLock:
    """The lock of a run folder, held by one process, that of the first rank, from here to `release`.

    A holder that was released, or whose process was on this machine and is dead, is followed at once. Any other is
    watched until it gives a sign of life, which takes `renew_s`, or is silent for the length of the lease.

    Args:
        run: the run folder, made where it isn't there.
        lease_s: seconds of silence after which a holder is taken for dead; the same for all who use the folder.
        renew_s: seconds between two signs of life; a small part of the lease.
        environ: where Slurm's job number is read.

    Attributes:
        token: this holder's number; every later holder has a higher one.
        owner: this process.

    Raises:
        RunLocked: another process holds it and lives.
        StorageFull: there is no space for a claim.
        OSError: the folder can't be written.
    """

    def __init__(
        self,
        run: Path,
        *,
        lease_s: float = LEASE_S,
        renew_s: float = RENEW_S,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._run, self._claims = run, run / _CLAIMS
        with storage_errors(self._claims):
            self._claims.mkdir(parents=True, exist_ok=True)
            self.owner = _claimed(run, self._claims, lease_s, environ)
        self.token = self.owner.token
        _tell(run, self.owner)
        _forget_before(self._claims, self.token)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, args=(renew_s,), name="run-lock", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Make sure that nobody took over.

        Raises:
            RunLockLost: somebody did, or the lock was deleted.
            OSError: it can't be found out.
        """
        newest = _newest(self._claims)
        if newest == self.token:
            return
        if newest < self.token:
            raise RunLockLost(f"The lock of {self._run} was deleted while it was held.")
        other = _read(_claim(self._claims, newest))
        raise RunLockLost(f"{self._run} was taken over by {_named(other)}.")

    def release(self) -> None:
        """Give the lock back; may be called twice. Where it was lost, nothing of the new holder's is touched."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            self.confirm()
            released = replace(self.owner, released=utc_now())
            write_json(_claim(self._claims, self.token), to_plain(released))
            _tell(self._run, released)
        except (RunLockLost, StorageFull, OSError):
            # whoever comes next finds this process dead, or silent
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _renew(self, renew_s: float) -> None:
        claim = _claim(self._claims, self.token)
        while not self._ended.wait(renew_s):
            # touching takes no space, so a full disk doesn't cost the lock; one that fails is but silence
            with contextlib.suppress(OSError):
                os.utime(claim)


def read_owner(run: Path) -> Owner | None:
    """Who holds or last held the lock of a run folder; None where nobody ever did."""
    claims = run / _CLAIMS
    newest = _newest(claims) if claims.is_dir() else 0
    return _read(_claim(claims, newest)) if newest else None


def _claim(claims: Path, token: int) -> Path:
    return claims / f"{token:08d}.json"


def _newest(claims: Path) -> int:
    try:
        names = [path.name for path in claims.iterdir()]
    except FileNotFoundError:
        return 0
    return max((int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()), default=0)


def _read(claim: Path) -> Owner | None:
    try:
        return from_plain(Owner, json.loads(claim.read_bytes()))
    except (FileNotFoundError, ValueError, pydantic.ValidationError):
        return None


def _claimed(run: Path, claims: Path, lease_s: float, environ: Mapping[str, str]) -> Owner:
    while True:
        newest = _newest(claims)
        if newest and not _is_free(claims, newest, lease_s):
            raise _locked(run, _read(_claim(claims, newest)))
        owner = this_process(newest + 1, utc_now(), environ)
        # a claim between two others, whose own was forgotten meanwhile, is worth nothing
        if _make_claim(claims, owner) and _newest(claims) == owner.token:
            return owner


def _make_claim(claims: Path, owner: Owner) -> bool:
    """Whether this process is the one that made the claim; it appears with all it says."""
    part = claims / f".{owner.token}.{owner.host}.{owner.pid}.{time.monotonic_ns()}"
    try:
        part.write_text(json.dumps(to_plain(owner)) + "\n")
        os.link(part, _claim(claims, owner.token))
    except FileExistsError:
        # a network file system may have made the link and lost its answer
        return part.exists() and part.stat().st_nlink > 1
    except FileNotFoundError:
        # somebody took a later claim and cleared this one away
        return False
    finally:
        part.unlink(missing_ok=True)
    return True


def _is_free(claims: Path, token: int, lease_s: float) -> bool:
    """Whether the holder may be followed, or was; watches it until that is clear."""
    claim = _claim(claims, token)
    first, until = _sign(claim), time.monotonic() + lease_s
    while True:
        # looked at before the claim is read: a release is a change as well
        sign, owner = _sign(claim), _read(claim)
        if owner is not None and (owner.released is not None or owner.is_dead()):
            return True
        if _newest(claims) != token or time.monotonic() >= until:
            return True
        if sign != first:
            return False
        time.sleep(min(lease_s / _LOOKS, _LOOK_S))


def _sign(claim: Path) -> tuple[int, int] | None:
    """What changes with each sign of life. The file is opened: a network file system then asks its server."""
    try:
        with claim.open("rb") as file:
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _tell(run: Path, owner: Owner) -> None:
    # a full disk must not keep anybody from the lock
    with contextlib.suppress(OSError, StorageFull):
        write_json(run / LOCK_FILE, to_plain(owner))


def _forget_before(claims: Path, token: int) -> None:
    for path in claims.iterdir():
        number = path.name.lstrip(".").partition(".")[0]
        if number.isdigit() and int(number) < token:
            path.unlink(missing_ok=True)


def _named(owner: Owner | None) -> str:
    if owner is None:
        return "another process"
    job = f", Slurm job {owner.job}" if owner.job else ""
    return f"process {owner.pid} on {owner.host} (since {owner.since}{job})"


def _locked(run: Path, owner: Owner | None) -> RunLocked:
    return RunLocked(f"{run} is written to by {_named(owner)}.")
