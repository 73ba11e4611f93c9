"""A site whose queue holds a scan in every state; names and paths in it must never reach a screen."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.records import STAT_PRIORITY, ClaimedTask, NewTask, Records, open_records, process_owner, task_key
from postgres_server import PostgresServer, running_server

VERSIONS = Versions(model="m" * 64, policy="p" * 64, software="s" * 64, software_version="0.1.0")
RUN = "run-1"
SECRET = "MUELLER-ANNA"
LANE = "ab" * 32
OTHER_LANE = "cd" * 32


class Site:
    """Records with shorthand for filling them; scans are known by a short word."""

    def __init__(self, address: str | Path, out: Path, records: Records) -> None:
        self.address, self.out, self.records = str(address), out, records
        records.start_run(run_id=RUN, purpose="run", versions=VERSIONS, settings={}, command="pellucid run [1 inputs]")

    def digest(self, word: str) -> str:
        return (word.encode().hex() + "0" * 64)[:64]

    def key(self, word: str, lane: str = LANE) -> str:
        return task_key(scan=self.digest(word), model=lane, overrides={}, purpose="run")

    def name(self, word: str) -> str:
        return self.records.pseudonym("scan", self.digest(word))

    def enqueue(self, word: str, *, priority: int = 0, lane: str = LANE) -> str:
        key = self.key(word, lane)
        specimen = f"{SECRET}-{word}"
        self.records.register_specimen(specimen, f"case {SECRET} {word}", SECRET, [key], {})
        task = NewTask(
            key=key,
            kind="scan",
            specimen=specimen,
            scan_digest=self.digest(word),
            payload={"path": f"/archive/{SECRET}/{word}.svs", "mpp": None},
            priority=priority,
            lane=lane,
        )
        self.records.enqueue([task], run_id=RUN)
        return key

    def claim(self, owner: str | None = None, *, lease_s: float = 600.0) -> ClaimedTask:
        task = self.records.claim(owner or process_owner(), lease_s=lease_s)
        assert task is not None
        return task

    def begin(self, word: str, **options: Any) -> ClaimedTask:
        """Enqueue and claim, while nothing else waits."""
        self.enqueue(word)
        return self.claim(**options)

    def complete(self, task: ClaimedTask) -> None:
        observation = Observation(
            scan=task.scan_digest or "",
            specimen=task.specimen,
            run=RUN,
            at="2026-11-23T10:00:00.000Z",
            purpose="run",
            scanner=None,
            strata={},
            mpp=0.5,
            mpp_source="file",
            n_tiles=10,
            features={},
            embedding=(),
            distance=None,
            mean_logit=None,
            sd_logit=None,
            probability=None,
            mutual_information=None,
            reasons=(),
            error=None,
            timings={},
            model="m" * 64,
            policy="p" * 64,
            software="s" * 64,
        )
        self.records.complete(task, observation=observation)

    def fill(self) -> None:
        """One scan in each state, and an urgent one that waits."""
        self.complete(self.begin("finished"))
        self.records.fail(
            self.begin("broken"), code="PEL-SLIDE-006", message=f"'/archive/{SECRET}/broken.svs' is truncated."
        )
        self.records.quarantine(self.begin("deadly"), cause="Its work ended a process 3 times (SIGSEGV).")
        self.records.retry_later(
            self.begin("resting"), code="PEL-RUN-010", message="The share went away.", delay_s=900.0
        )
        self.begin("running")
        self.enqueue("routine")
        self.enqueue("urgent", priority=STAT_PRIORITY)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    out = tmp_path / "out"
    with open_records(out / "records.sqlite") as records:
        yield Site(out / "records.sqlite", out, records)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def server_site(server: PostgresServer, tmp_path: Path) -> Iterator[Site]:
    """The same on PostgreSQL."""
    address = server.url(server.fresh_database())
    with open_records(address) as records:
        yield Site(address, tmp_path / "out", records)


@pytest.fixture
def dead_owner() -> str:
    """The name of a process of this machine that was killed."""
    code = "from pellucid.records import process_owner; print(process_owner(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    return owner
