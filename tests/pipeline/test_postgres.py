"""Runs and workers as real processes on a PostgreSQL queue, and what they do when the server goes away."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle, record_golden
from pellucid.core.seeds import generator
from pellucid.domain.policy import SitePolicy
from pellucid.engine.snapshot import STATUS_NAME, EngineState, read_snapshot
from pellucid.pipeline import RunOptions, StopRequest, gather, run_cohort
from pellucid.records import DATABASE_NAME, Records, RunState, TaskState, open_records
from postgres_server import PostgresServer, running_server

pytestmark = pytest.mark.slow

N_SCANS = 24
PATIENCE_S = 60.0
Answers = dict[str, tuple[float, ...]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def address(server: PostgresServer) -> str:
    return server.url(server.fresh_database())


@pytest.fixture(scope="module")
def scans(slide_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scans: copies with bytes appended that no reader looks at, one of them without a scale."""
    folder = tmp_path_factory.mktemp("scans")
    for nth in range(N_SCANS):
        source = slide_of("scale_missing" if nth == 0 else "clear")
        copy = Path(shutil.copyfile(source, folder / f"{nth}{source.suffix}"))
        with copy.open("ab") as file:
            file.write(f"\n{nth}".encode())
    return folder


@dataclass
class Site:
    """Starts Pellucid's commands against one database."""

    bundle: Path
    key: Path
    folder: Path
    address: str | None = None

    def start(
        self, *arguments: str, out: str = "out", bundle: Path | None = None, patience_s: float = PATIENCE_S
    ) -> subprocess.Popen[str]:
        """Start a command; what it says is in `<out>.said`."""
        options = ["--bundle", str(bundle or self.bundle), "--trust", str(self.key), "--out", str(self.folder / out)]
        command = [sys.executable, "-m", "pellucid", *arguments, *options, "--readers", "1", "--json"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if self.address is not None:
            environment["PELLUCID_DATABASE"] = self.address
        with self.said(out).open("a") as said:
            return subprocess.Popen(
                [*command, "--patience", str(patience_s)],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=environment,
                cwd=self.folder,
            )

    def said(self, out: str = "out") -> Path:
        return self.folder / f"{out}.said"

    def end(self, process: subprocess.Popen[str], out: str = "out") -> dict[str, object]:
        """The summary of a command that ends well."""
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, self.said(out).read_text()
        return dict(json.loads(printed))

    def wait_for(self, what: Callable[[], bool], process: subprocess.Popen[str], within_s: float = 120.0) -> None:
        until = time.monotonic() + within_s
        while not what():
            assert process.poll() is None, self.said().read_text()
            assert time.monotonic() < until, self.said().read_text()
            time.sleep(0.05)

    def has_scored(self) -> bool:
        log = self.folder / "out" / "run.jsonl"
        return log.exists() and '"scan scored"' in log.read_text()

    def is_paused(self) -> bool:
        snapshot = read_snapshot(self.folder / "out" / STATUS_NAME)
        return snapshot is not None and snapshot.state is EngineState.PAUSED


@pytest.fixture
def site(pristine: Path, key: SigningKey, tmp_path: Path, address: str) -> Site:
    key.save(tmp_path / "key.pem")
    return Site(bundle=pristine, key=tmp_path / "key.pem.pub", folder=tmp_path, address=address)


@pytest.fixture(scope="module")
def on_sqlite(scans: Path, pristine: Path, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The answers of an undisturbed run on an SQLite file."""
    folder = tmp_path_factory.mktemp("sqlite")
    key.save(folder / "key.pem")
    calm = Site(bundle=pristine, key=folder / "key.pem.pub", folder=folder)
    calm.end(calm.start("run", str(scans)))
    with open_records(folder / "out" / DATABASE_NAME) as records:
        return answers(records)


def answers(records: Records) -> Answers:
    return {result.scan: result.logits for result in records.scan_results()}


def assert_each_ended_once(records: Records, n_tasks: int = N_SCANS) -> None:
    """Every task is in a final state and has one end in the audit trail, which verifies."""
    tasks = records.tasks()
    assert len(tasks) == n_tasks
    assert {task.state for task in tasks} == {TaskState.DONE, TaskState.FAILED}
    events = [event.content for event in records.audit_events()]
    ends = Counter(event["details"]["task"] for event in events if event["action"] in {"predict", "predict.fail"})
    assert ends == dict.fromkeys((task.key for task in tasks), 1)
    assert records.verify_audit().ok


def test_a_run_on_a_server_answers_as_one_on_a_file(site: Site, scans: Path, on_sqlite: Answers) -> None:
    summary = site.end(site.start("run", str(scans)))
    assert (summary["scored"], summary["failed"]) == (N_SCANS - 1, 1)
    with open_records(str(site.address)) as records:
        assert answers(records) == on_sqlite
        assert_each_ended_once(records)
    assert not (site.folder / "out" / DATABASE_NAME).exists()


def test_a_server_that_restarts_is_waited_for(
    site: Site, scans: Path, server: PostgresServer, on_sqlite: Answers
) -> None:
    process = site.start("run", str(scans))
    site.wait_for(site.has_scored, process)
    server.stop()
    site.wait_for(site.is_paused, process)
    site.wait_for(lambda: "Paused, nothing is lost" in site.said().read_text(), process)
    snapshot = read_snapshot(site.folder / "out" / STATUS_NAME)
    assert snapshot is not None
    assert snapshot.paused_because
    server.start()
    site.end(process)
    assert "Goes on." in site.said().read_text()
    with open_records(str(site.address)) as records:
        assert answers(records) == on_sqlite
        assert_each_ended_once(records)


def test_a_server_that_stays_away_ends_the_run_and_the_same_command_resumes(
    site: Site, scans: Path, server: PostgresServer, on_sqlite: Answers
) -> None:
    process = site.start("run", str(scans), patience_s=3.0)
    site.wait_for(site.has_scored, process)
    server.stop()
    process.communicate(timeout=120)
    said = site.said().read_text()
    server.start()
    assert process.returncode not in {0, None}
    assert "PEL-RECORD-001" in said
    assert "Traceback" not in said
    again = site.end(site.start("run", str(scans)))
    assert int(str(again["known"])) >= 1
    with open_records(str(site.address)) as records:
        assert answers(records) == on_sqlite
        assert_each_ended_once(records)
        assert records.runs()[-1].state is RunState.COMPLETED


Enter = Callable[[Bundle, list[Path]], None]


@pytest.fixture
def enter(tmp_path: Path, address: str, watcher: object) -> Enter:
    """Enter scans into the queue for a bundle, and do none of them."""

    def queue(bundle: Bundle, files: list[Path]) -> None:
        stop = StopRequest()

        def queued(waiting: int, _known: int) -> None:
            stop.asked = stop.now = waiting == len(files)

        watcher.queued = queued  # type: ignore[attr-defined]
        options = RunOptions(database=address, readers=1)
        policy, out = SitePolicy(name="local"), tmp_path / "entering"
        with open_records(address) as records:
            before = len(records.tasks())
            records.pause(reason="only enter", actor="test")
            run_cohort(gather(files), bundle, out, policy=policy, events=watcher, options=options, stop=stop)  # type: ignore[arg-type]
            records.resume(actor="test")
            assert len(records.tasks()) == before + len(files)
            assert {task.state for task in records.tasks()} == {TaskState.QUEUED}

    return queue


def test_two_workers_share_a_queue_and_do_no_scan_twice(
    site: Site, enter: Enter, bundle: Bundle, scans: Path, on_sqlite: Answers
) -> None:
    enter(bundle, sorted(scans.iterdir()))
    workers = {out: site.start("worker", "--until-empty", out=out) for out in ("one", "two")}
    summaries = [site.end(process, out) for out, process in workers.items()]
    scored = [int(str(summary["scored"])) for summary in summaries]
    assert sum(scored) == N_SCANS - 1
    assert min(scored) >= 1
    with open_records(str(site.address)) as records:
        assert answers(records) == on_sqlite
        assert_each_ended_once(records)
        per_run = Counter(result.run for result in records.scan_results())
    assert sorted(per_run.values()) == sorted(scored)


@pytest.fixture(scope="module")
def other(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of another head."""
    from pellucid.aggregators import GatedAttention, load_head
    from pellucid.encoders import load_encoder, state_digest
    from pellucid.uncertainty import model_digest

    state = GatedAttention(parts.head_config, seed=2).state_dict()
    draw = generator("golden")
    golden = record_golden(
        load_encoder(parts.spec, parts.encoder_state),
        load_head(parts.head_config, state),
        model=model_digest(parts.spec, parts.head_config, state_digest(state)),
        pixels=parts.golden.pixels,
        features=draw.normal(size=(20, parts.spec.dim)).astype("float16"),
        n_passes=parts.calibration.n_passes,
    )
    changed = replace(parts, name="other", head_state=state, golden=golden)
    folder = build_bundle(tmp_path_factory.mktemp("bundles") / "other", changed, key)
    return load_bundle(folder, [key.trusted()])


def test_workers_with_different_bundles_each_do_their_own(
    site: Site, enter: Enter, bundle: Bundle, other: Bundle, scans: Path, on_sqlite: Answers
) -> None:
    files = sorted(scans.iterdir())
    shares = {"one": (bundle, files[::2]), "two": (other, files[1::2])}
    for one, share in shares.values():
        enter(one, share)
    workers = {
        out: site.start("worker", "--until-empty", out=out, bundle=one.folder) for out, (one, _) in shares.items()
    }
    summaries = {out: site.end(process, out) for out, process in workers.items()}
    with open_records(str(site.address)) as records:
        assert_each_ended_once(records)
        for out, (one, share) in shares.items():
            summary = summaries[out]
            assert int(str(summary["scored"])) + int(str(summary["failed"])) == len(share)
            mine = records.scan_results(run_id=str(summary["run_id"]))
            assert len(mine) == summary["scored"]
            assert {result.versions.model for result in mine} == {one.model_digest}
        first = records.scan_results(run_id=str(summaries["one"]["run_id"]))
    assert {result.scan: result.logits for result in first}.items() < on_sqlite.items()
