"""A scan whose storage fails while it is worked on rests, and is tried again before it is given up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import Bundle
from pellucid.domain.cohort import Cohort
from pellucid.domain.decision import Versions
from pellucid.domain.policy import SitePolicy
from pellucid.engine.ends import LeaseGone
from pellucid.engine.ledger import Account
from pellucid.pipeline.decisions import Terms, gates_of
from pellucid.pipeline.filing import Filing, KeyParts
from pellucid.pipeline.intake import Intake
from pellucid.pipeline.ledger import RecordsLedger
from pellucid.pipeline.metrics import run_metrics
from pellucid.pipeline.recording import Recording
from pellucid.records import Records, TaskState, open_records
from pellucid.slides.identity import FileUnhashable, identify_marked

POLICY = SitePolicy(name="test")
FAILED = FileUnhashable("The file can't be read any more: Input/output error.")


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return open_records(tmp_path / "records.sqlite")


@pytest.fixture
def ledger(
    records: Records,
    bundle: Bundle,
    slide_of: Callable[[str], Path],
    make_entry: Callable[..., object],
    watcher: object,
    tmp_path: Path,
) -> RecordsLedger:
    """With one scan that waits to be claimed."""
    versions = Versions(model=bundle.model_digest, policy=POLICY.digest, software="0" * 64, software_version="0")
    parts = KeyParts.of(bundle, "run")
    records.start_run(run_id="r", purpose="run", versions=versions, settings={}, command="")
    recording = Recording(
        records=records,
        bundle=bundle,
        out=tmp_path,
        run_id="r",
        versions=versions,
        purpose="run",
        metrics=run_metrics(bundle),
    )
    cohort = Cohort(entries=(make_entry(slide_of("clear"), "one"),), name="one")  # type: ignore[arg-type]
    ledger = RecordsLedger(
        recording=recording,
        intake=Intake.of(cohort, Filing(records=records, run_id="r", parts=parts)),
        terms=Terms(gates=gates_of(bundle), policy=POLICY, versions=versions, lane=parts.lane),
        events=watcher,  # type: ignore[arg-type]
    )
    path = ledger.to_identify()
    assert path is not None
    ledger.identified(path, *identify_marked(path, lambda _done: None))
    return ledger


def rest_is_over(records: Records) -> None:
    from sqlalchemy import text

    with records._database.write() as connection:
        connection.execute(text("UPDATE task SET not_before = 0"))


def test_it_rests_twice_and_fails_the_third_time(ledger: RecordsLedger, records: Records) -> None:
    for attempt in (1, 2):
        work = ledger.claim()
        assert work is not None
        ledger.unanswered(work, FAILED, Account(seconds={}))
        [task] = records.tasks()
        assert (task.state, task.attempts) == (TaskState.QUEUED, attempt)
        assert task.cause is not None
        assert "Input/output error" in task.cause
        assert ledger.claim() is None, "it rests"
        assert not ledger.finished
        rest_is_over(records)
    work = ledger.claim()
    assert work is not None
    ledger.unanswered(work, FAILED, Account(seconds={}))
    [task] = records.tasks()
    assert (task.state, task.error_code) == (TaskState.FAILED, FileUnhashable.code)
    assert ledger.finished
    assert records.verify_audit().ok


def test_a_scan_that_was_taken_over_is_not_put_off(ledger: RecordsLedger, records: Records) -> None:
    work = ledger.claim()
    assert work is not None
    records.quarantine_tasks({work.key}, actor="user:somebody", reason="wrong block")
    with pytest.raises(LeaseGone):
        ledger.unanswered(work, FAILED, Account(seconds={}))
