"""Records that stage 1's software wrote (schema 0001) are brought up to date with all that is in them."""

import sqlite3
from pathlib import Path

import pytest

from pellucid.records import RecordsDamaged, RecordsOlder, RunState, TaskState, open_records, process_owner

STAGE_1 = (Path(__file__).parent / "data" / "stage1.sql").read_text(encoding="utf-8")
HEAD = "11:7ae4d6cb4052c8b1d9d44ddc7145dcc81ef9c4db4e9369bf8d800cc4894628a8"
"""The trail's head as stage 1's software told it."""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(STAGE_1)
    # the lease that was running when the file was written runs still, whenever this test does
    connection.execute(
        "UPDATE task SET lease_until = CAST(strftime('%s', 'now') AS REAL) + 3600.0 WHERE state = 'leased'"
    )
    connection.commit()
    connection.close()
    return path


def ask(path, query):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_nothing_is_lost_and_the_trail_still_verifies(old, file_ward):
    with pytest.raises(RecordsOlder):
        open_records(old, create=False)
    with open_records(old) as records:
        assert records.verify_audit().ok
        assert str(records.audit_head()) == HEAD
        states = {task.specimen: (task.state, task.error_code) for task in records.tasks()}
        assert states == {
            "S1": (TaskState.DONE, None),
            "S2": (TaskState.FAILED, "PEL-SLIDE-001"),
            "S3": (TaskState.LEASED, None),
            "S4": (TaskState.QUEUED, None),
            "S5": (TaskState.QUEUED, None),
            "S6": (TaskState.QUEUED, None),
        }
        (result,) = records.scan_results("S1")
        assert (result.logits, result.posterior) == (file_ward.logits, file_ward.posterior())
        assert records.decision("S1").decision == file_ward.decision("S1")
        assert [run.state for run in records.runs()] == [RunState.RUNNING]
        specimen = records.specimen("S1")
        (key,) = (task.key for task in records.tasks() if task.specimen == "S1")
        assert (specimen.expected, specimen.n_expected, specimen.overdue) == ((key,), None, False)


def test_waiting_tasks_keep_their_place_and_work_goes_on(old, file_ward):
    with open_records(old) as records:
        file_ward.records.close()
        file_ward.records = records
        assert [file_ward.claim().specimen for _ in range(3)] == ["S5", "S4", "S6"]
        assert records.claim(process_owner()) is None
        assert records.retry_failed() == 1
        file_ward.complete(file_ward.claim())
        records.register_specimen("S1", "case S1", "patient S1", [file_ward.key("S1")], {"site": "A"}, n_expected=2)
        assert [specimen.specimen for specimen in records.waiting_specimens()] == ["S1"]
        assert records.verify_audit().ok


def test_waiting_counts_from_when_the_task_was_entered(old):
    (entered,) = ask(old, "SELECT (julianday(min(enqueued_at)) - 2440587.5) * 86400 FROM task")
    open_records(old).close()
    assert ask(old, "SELECT min(waiting_since) FROM task") == [pytest.approx(entered, abs=0.001)]


def test_schema_is_that_of_new_records(old, file_ward):
    open_records(old).close()
    query = "SELECT name, sql FROM sqlite_master"
    upgraded = {name: file_ward.shape(sql) for name, sql in ask(old, query)}
    assert upgraded == {name: file_ward.shape(sql) for name, sql in file_ward.rows(query)}


def test_upgrade_that_fails_leaves_the_records_as_they_were(old):
    connection = sqlite3.connect(old)
    with connection:
        connection.execute("DELETE FROM specimen WHERE specimen = 'S3'")
    connection.close()
    before = ask(old, "SELECT name, sql FROM sqlite_master ORDER BY name")
    with pytest.raises(RecordsDamaged, match="gone"):
        open_records(old)
    assert ask(old, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert ask(old, "SELECT name, sql FROM sqlite_master ORDER BY name") == before
