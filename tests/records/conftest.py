import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pellucid.domain.decision import Decision, Disposition, Verdict, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Finding, Reason
from pellucid.domain.scan import Scale, ScaleSource, ScanInfo
from pellucid.records import ClaimedTask, NewTask, Records, open_records, process_owner, task_key
from postgres_server import PostgresServer, running_server

VERSIONS = Versions(model="m" * 64, policy="p" * 64, software="s" * 64, software_version="0.1.0")
RUN = "run-1"
LOGITS = tuple(0.1 * step - 1.7 for step in range(50))


class Ward:
    """One site with records, and shorthand for filling them."""

    refused: tuple[type[Exception], ...] = (sqlite3.IntegrityError, psycopg.errors.IntegrityError)
    """What the driver raises where the database refuses a change."""

    def __init__(self, address: str | Path, records: Records) -> None:
        self.address = str(address)
        self.on_postgres = "://" in self.address
        self.path = Path("/nowhere") if self.on_postgres else Path(address)
        self.records = records
        self.versions = VERSIONS
        self.run_id = RUN
        self.logits = LOGITS

    def start_run(self, run_id: str = RUN) -> None:
        self.records.start_run(
            run_id=run_id, purpose="score", versions=VERSIONS, settings={"seed": 7}, command="pellucid run t.csv"
        )

    def digest(self, name: str) -> str:
        return (name.encode().hex() + "0" * 64)[:64]

    def key(self, name: str) -> str:
        return task_key(scan=self.digest(name), model="m", overrides={}, purpose="score")

    def register(self, name: str, *, case: str | None = None) -> str:
        """A specimen with one scan of the same name; the scan's task key."""
        self.records.register_specimen(name, case or f"case {name}", f"patient {name}", [self.key(name)], {"site": "A"})
        return self.key(name)

    def enqueue(self, *names: str, priority: int = 0, **options: Any) -> None:
        for name in names:
            self.register(name)
        tasks = [
            NewTask(
                key=self.key(name),
                kind="scan",
                specimen=name,
                scan_digest=self.digest(name),
                payload={"path": f"/secret/{name}.svs"},
                priority=priority,
                **options,
            )
            for name in names
        ]
        self.records.enqueue(tasks, run_id=RUN)

    def claim(self) -> ClaimedTask:
        task = self.records.claim(process_owner())
        assert task is not None
        return task

    def complete(self, task: ClaimedTask, **changes: Any) -> None:
        content: dict[str, Any] = {
            "observation": self.observation(task.specimen),
            "logits": LOGITS,
            "posterior": self.posterior(),
            "quality": self.quality(),
            "info": self.info(),
            "findings": (Finding(reason=Reason.POOR_FOCUS, detail="blurred", value=0.9, limit=0.5, scan="x"),),
            "n_tiles": 120,
            "n_unreadable": 2,
            "artefacts": {"pages/heatmap.png": "a" * 64},
        }
        self.records.complete(task, **(content | changes))

    def observation(self, specimen: str, **changes: Any) -> Observation:
        values: dict[str, Any] = {
            "scan": self.digest(specimen),
            "specimen": specimen,
            "run": RUN,
            "at": "2026-11-23T10:00:00.000Z",
            "purpose": "score",
            "scanner": "Aperio",
            "strata": {"site": "A"},
            "mpp": 0.5,
            "mpp_source": "file",
            "n_tiles": 120,
            "features": {"saturation": 0.25},
            "embedding": (0.1, -0.2),
            "distance": 1.5,
            "mean_logit": -0.7,
            "sd_logit": 0.3,
            "probability": 1 / 3,
            "mutual_information": 0.01,
            "reasons": ("no_certificate",),
            "error": None,
            "timings": {"read": 1.25},
            "model": "m" * 64,
            "policy": "p" * 64,
            "software": "s" * 64,
        }
        return Observation(**(values | changes))

    def posterior(self, **changes: Any) -> Posterior:
        values: dict[str, Any] = {
            "logits": LOGITS,
            "temperature": 1.25,
            "probability": 1 / 3,
            "mean_probability": 0.34,
            "mean_logit": -0.7,
            "sd_logit": 0.3,
            "low": 0.2,
            "high": 0.5,
            "level": 0.9,
            "entropy": 0.6,
            "mutual_information": 0.01,
            "n_scans": 1,
        }
        return Posterior(**(values | changes))

    def quality(self) -> Quality:
        measure = QualityMeasure(
            name="focus",
            label="Out of focus",
            value=0.9,
            unit="%",
            limit=0.5,
            sense=Sense.AT_MOST,
            reason=Reason.POOR_FOCUS,
        )
        return Quality(measures=(measure,))

    def info(self) -> ScanInfo:
        return ScanInfo(
            width=1000,
            height=800,
            level_downsamples=(1.0, 4.0),
            vendor="aperio",
            reader="openslide",
            scale=Scale(mpp_x=0.5, mpp_y=0.5, source=ScaleSource.FILE, detail="openslide.mpp-x"),
            claimed_mpp=0.5,
            objective_power=20.0,
            scanner="Aperio",
            synthetic=True,
        )

    def decision(self, specimen: str, **changes: Any) -> Decision:
        values: dict[str, Any] = {
            "specimen": specimen,
            "verdict": Verdict.UNDETERMINED,
            "disposition": Disposition.FOR_REVIEW,
            "findings": (Finding(reason=Reason.NO_CERTIFICATE, detail="none"),),
            "posterior": self.posterior(),
            "scans": (self.digest(specimen),),
            "versions": VERSIONS,
        }
        return Decision(**(values | changes))

    def answer(self, *names: str) -> None:
        """Bring specimens from nothing to a decision."""
        self.enqueue(*names)
        for _ in names:
            task = self.claim()
            self.complete(task)
            self.records.save_decision(self.decision(task.specimen), run_id=RUN)

    def sql(self, *statements: str, parameters: tuple[Any, ...] = ()) -> None:
        """Change the database past the software. Parameters are written as `?`."""
        if self.on_postgres:
            with psycopg.connect(self.address) as server:
                for statement in statements:
                    server.execute(statement.replace("?", "%s").encode(), parameters or None)
            return
        with sqlite3.connect(self.path) as connection:
            for statement in statements:
                connection.execute(statement, parameters)
        connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        if self.on_postgres:
            with psycopg.connect(self.address) as server:
                return server.execute(query.encode()).fetchall()
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    @staticmethod
    def shape(sql: str | None) -> list[str]:
        """The parts of a CREATE statement regardless of their order, of quotes and of how it is laid out."""
        parts, depth = [""], 0
        for sign in " ".join((sql or "").replace('"', "").split()):
            depth += {"(": 1, ")": -1}.get(sign, 0)
            if sign == "," and depth == 1:
                parts.append("")
            else:
                parts[-1] += sign
        head, _, parts[0] = parts[0].partition("(")
        parts[-1] = parts[-1].strip().removesuffix(")")
        return [head.strip(), *sorted(part.strip() for part in parts)]

    def tamper(self, *statements: str, parameters: tuple[Any, ...] = ()) -> None:
        """Change the trail past its guards, which are put back."""
        if self.on_postgres:
            guards = [name for (name,) in self.rows("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")]
            for guard in guards:
                self.sql(f"ALTER TABLE audit_event DISABLE TRIGGER {guard}")
            self.sql(*statements, parameters=parameters)
            for guard in guards:
                self.sql(f"ALTER TABLE audit_event ENABLE ALWAYS TRIGGER {guard}")
            return
        kept = self.rows("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        self.sql(*(f"DROP TRIGGER {name}" for name, _ in kept))
        self.sql(*statements, parameters=parameters)
        self.sql(*(sql for _, sql in kept))

    def fault(self, table: str) -> None:
        """Let every insertion into a table fail until `mend`."""
        if self.on_postgres:
            body = "BEGIN RAISE EXCEPTION 'fault'; END"
            self.sql(
                f"CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
                f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()",
            )
        else:
            self.sql(f"CREATE TRIGGER fault BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'fault'); END")

    def mend(self, table: str) -> None:
        self.sql(f"DROP TRIGGER fault ON {table}" if self.on_postgres else "DROP TRIGGER fault")

    def pass_time(self, seconds: float) -> None:
        """Make the queue older, as if the database's clock had gone on by so much."""
        self.sql(
            f"UPDATE task SET lease_until = lease_until - {seconds}, not_before = not_before - {seconds}, "
            f"waiting_since = waiting_since - {seconds}, rank = rank + {seconds}",
            f"UPDATE specimen SET wait_from = wait_from - {seconds}, deadline = deadline - {seconds}",
        )


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def empty_records(server: PostgresServer) -> str:
    """The name of a database that holds a site and nothing else, to be copied."""
    name = server.fresh_database()
    open_records(server.url(name)).close()
    return name


@pytest.fixture
def database(server: PostgresServer, empty_records: str) -> Iterator[str]:
    """The address of records on the server."""
    name = server.fresh_database(template=empty_records)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def file_ward(tmp_path: Path) -> Iterator[Ward]:
    """Records in a file."""
    path = tmp_path / "records.sqlite"
    with open_records(path) as records:
        ward = Ward(path, records)
        ward.start_run()
        yield ward


@pytest.fixture
def server_ward(database: str) -> Iterator[Ward]:
    """Records on a server."""
    with open_records(database) as records:
        ward = Ward(database, records)
        ward.start_run()
        yield ward


@pytest.fixture(params=["sqlite", "postgres"])
def ward(request: pytest.FixtureRequest) -> Ward:
    """Records of each kind in turn."""
    found = request.getfixturevalue("file_ward" if request.param == "sqlite" else "server_ward")
    assert isinstance(found, Ward)
    return found


@pytest.fixture
def reopen(ward: Ward) -> Iterator[Callable[..., Records]]:
    """More connections to the same records, closed at the end."""
    opened: list[Records] = []

    def open_again(**options: Any) -> Records:
        opened.append(open_records(ward.address, **options))
        return opened[-1]

    yield open_again
    for records in opened:
        records.close()
