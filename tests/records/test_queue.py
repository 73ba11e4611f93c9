import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from sqlalchemy import event, select

from pellucid.records import (
    STAT_PRIORITY,
    LeaseLost,
    NewTask,
    RunUnknown,
    SpecimenUnknown,
    TaskState,
    process_owner,
    queue,
    reclaiming,
)
from pellucid.records.tables import task as tasks_table

INDEXES = ("ix_task_queued", "ix_task_lane", "ix_task_leased", "ix_task_owner")

CLAIMER = """
import json, sys
from pellucid.records import open_records, process_owner
with open_records(sys.argv[1]) as records:
    print("ready", flush=True)
    sys.stdin.readline()
    keys = []
    while task := records.claim(process_owner(), lease_s=600):
        keys.append(task.key)
    print(json.dumps(keys), flush=True)
    sys.stdin.readline()
"""
HOLDER = """
import sys
from pellucid.records import open_records, process_owner
with open_records(sys.argv[1]) as records:
    task = records.claim(process_owner(), lease_s=3600)
    print(task.key, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def spawn(ward):
    """Start Python processes on the same records; they are ended at the test's end."""
    processes = []

    def start(script):
        process = subprocess.Popen(
            [sys.executable, "-c", script, ward.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def new(ward, name, **changes):
    return NewTask(**({"key": ward.key(name), "kind": "scan", "specimen": name} | changes))


def states(ward):
    return {task.specimen: task.state for task in ward.records.tasks()}


def test_task_carries_what_it_was_given(ward):
    ward.enqueue("S1", priority=3, lane="m1")
    task = ward.claim()
    assert (task.key, task.kind, task.lane, task.specimen) == (ward.key("S1"), "scan", "m1", "S1")
    assert (task.scan_digest, task.payload, task.priority) == (ward.digest("S1"), {"path": "/secret/S1.svs"}, 3)
    assert (task.attempts, task.token, task.owner, task.run) == (1, 1, process_owner(), "run-1")


def test_higher_priority_goes_first_and_the_older_among_equals(ward):
    ward.enqueue("S1", "S2")
    ward.enqueue("S3", priority=5)
    assert [ward.claim().specimen for _ in range(3)] == ["S3", "S1", "S2"]
    assert ward.records.claim(process_owner()) is None


def test_lanes_keep_tasks_apart(ward):
    ward.enqueue("S1", lane="old model")
    ward.enqueue("S2", lane="new model")
    assert ward.records.claim(process_owner(), lane="new model").specimen == "S2"
    assert ward.records.claim(process_owner(), lane="new model") is None
    assert ward.records.counts(lane="old model")[TaskState.QUEUED] == 1


def test_known_key_is_not_added_twice(ward):
    ward.enqueue("S1", "S2", "S3", "S4")
    ward.complete(ward.claim())
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    ward.claim()
    tasks = [new(ward, name) for name in ("S1", "S2", "S3", "S4")]
    ward.register("S5")
    result = ward.records.enqueue([*tasks, new(ward, "S5"), new(ward, "S5")])
    assert result.known_done == (ward.key("S1"),)
    assert result.failed == (ward.key("S2"),)
    assert result.waiting == (ward.key("S3"), ward.key("S4"))
    assert result.new == (ward.key("S5"),)
    assert result.requeued == ()


def test_failed_task_is_requeued_on_request_with_its_attempts_anew(ward):
    ward.enqueue("S1")
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    result = ward.records.enqueue([new(ward, "S1")], retry_failed=True)
    assert result.requeued == (ward.key("S1"),)
    task = ward.claim()
    assert (task.attempts, task.token) == (1, 2)


def test_waiting_task_takes_the_new_path_and_priority(ward):
    ward.enqueue("S1", "S2")
    ward.records.enqueue([new(ward, "S2", payload={"path": "/elsewhere"}, priority=9)])
    task = ward.claim()
    assert (task.specimen, task.payload) == ("S2", {"path": "/elsewhere"})


def test_task_of_an_unknown_specimen_is_refused_and_nothing_is_added(ward):
    ward.register("S1")
    with pytest.raises(SpecimenUnknown, match="S9"):
        ward.records.enqueue([new(ward, "S1"), new(ward, "S9")])
    assert ward.records.tasks() == []


def test_released_task_gets_its_attempt_back(ward):
    ward.enqueue("S1")
    task = ward.claim()
    assert ward.records.release(task)
    assert not ward.records.release(task)
    again = ward.claim()
    assert (again.attempts, again.token) == (1, 2)


def test_expired_lease_is_taken_over_and_fenced(ward):
    ward.enqueue("S1")
    lost = ward.records.claim("elsewhere:1:1", lease_s=-1)
    held = ward.claim()
    assert (held.key, held.token, held.attempts) == (lost.key, 2, 2)
    assert not ward.records.extend(lost, 60)
    assert not ward.records.release(lost)
    assert ward.records.extend(held, 60)
    before = ward.records.audit_head()
    with pytest.raises(LeaseLost):
        ward.complete(lost)
    with pytest.raises(LeaseLost):
        ward.records.fail(lost, code="PEL-X-001", message="m", observation=ward.observation("S1"))
    assert ward.records.audit_head() == before
    assert ward.records.scan_results() == []
    assert ward.records.observations() == []
    ward.complete(held)
    assert states(ward) == {"S1": TaskState.DONE}


def fail(records, task, code="PEL-SLIDE-001"):
    records.fail(task, code=code, message="no file")


def test_finished_task_is_not_finished_again_where_the_answer_was_lost(ward):
    endings = {
        "S1": ward.complete,
        "S2": lambda task: fail(ward.records, task),
        "S3": lambda task: ward.records.quarantine(task, "it kills", ward.observation("S3")),
    }
    ward.enqueue(*endings)
    for end in endings.values():
        task = ward.claim()
        end(task)
        head = ward.records.audit_head()
        end(task)
        assert ward.records.audit_head() == head
    assert len(ward.records.scan_results()) == 1
    assert [item.specimen for item in ward.records.observations(latest_only=False)] == ["S1", "S3"]


def test_finished_task_is_not_finished_otherwise(ward):
    ward.enqueue("S1")
    task = ward.claim()
    fail(ward.records, task)
    for end in (
        lambda: ward.complete(task),
        lambda: fail(ward.records, task, "PEL-SLIDE-002"),
        lambda: ward.records.quarantine(task, "it kills"),
        lambda: ward.complete(replace(task, token=task.token + 1)),
    ):
        with pytest.raises(LeaseLost):
            end()
    assert ward.records.tasks()[0].error_code == "PEL-SLIDE-001"
    assert ward.records.scan_results() == []


def test_live_lease_elsewhere_is_left_alone(ward):
    ward.enqueue("S1")
    ward.records.claim("elsewhere:1:1", lease_s=600)
    assert ward.records.claim(process_owner()) is None
    assert ward.records.enqueue([new(ward, "S1")]).waiting == (ward.key("S1"),)


def test_retry_takes_named_keys_or_a_run_or_all(ward):
    ward.enqueue("S1", "S2", "S3")
    for _ in range(3):
        ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    assert ward.records.retry_failed(keys=[ward.key("S2")]) == 1
    assert ward.records.retry_failed(keys=[]) == 0
    assert ward.records.retry_failed(of_run="other") == 0
    assert ward.records.retry_failed(of_run="run-1") == 2
    assert ward.records.retry_failed() == 0
    assert ward.records.counts() == {"queued": 3, "leased": 0, "done": 0, "failed": 0, "quarantined": 0}


def test_later_run_takes_over_what_it_retries(ward):
    ward.enqueue("S1")
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    ward.start_run("run-2")
    assert ward.records.enqueue([new(ward, "S1", payload={"path": "/found"})], run_id="run-2").failed
    assert ward.records.retry_failed(keys=[ward.key("S1")], run_id="run-2") == 1
    task = ward.claim()
    assert (task.run, task.payload) == ("run-2", {"path": "/found"})
    with pytest.raises(RunUnknown):
        ward.records.retry_failed(run_id="ghost")


def test_waiting_makes_up_for_priority_hour_by_hour(ward):
    ward.enqueue("old")
    ward.pass_time(2.5 * 3600)
    ward.enqueue("two", priority=2)
    ward.enqueue("three", priority=3)
    assert [ward.claim().specimen for _ in range(3)] == ["three", "old", "two"]


def test_stat_goes_first_however_long_others_waited(ward):
    ward.enqueue("high", priority=STAT_PRIORITY - 1)
    ward.pass_time(300 * 86400)
    ward.enqueue("stat", priority=STAT_PRIORITY)
    ward.pass_time(1)
    ward.enqueue("later stat", priority=STAT_PRIORITY)
    ward.enqueue("above stat", priority=STAT_PRIORITY + 1)
    assert [ward.claim().specimen for _ in range(4)] == ["above stat", "stat", "later stat", "high"]


def test_worker_kept_for_urgent_tasks_takes_no_other(ward):
    ward.enqueue("S1", priority=5)
    assert ward.records.claim(process_owner(), min_priority=STAT_PRIORITY) is None
    assert ward.records.claim(process_owner(), min_priority=6) is None
    ward.enqueue("S2", priority=STAT_PRIORITY)
    assert ward.records.claim(process_owner(), min_priority=STAT_PRIORITY).specimen == "S2"
    assert ward.records.claim(process_owner(), min_priority=5).specimen == "S1"


def test_waiting_task_is_not_moved_down_by_entering_it_again(ward):
    ward.enqueue("S1", priority=STAT_PRIORITY)
    ward.enqueue("S2", priority=9)
    ward.records.enqueue([new(ward, "S1", priority=0)])
    assert ward.claim().specimen == "S1"


def test_resting_task_waits_its_time_and_keeps_its_attempt(ward):
    ward.enqueue("S1", "S2")
    task = ward.claim()
    assert ward.records.retry_later(task, code="PEL-SLIDE-004", message="the share\x00 is away", delay_s=60)
    assert not ward.records.retry_later(task, code="PEL-SLIDE-004", message="", delay_s=60)
    resting = ward.records.tasks(specimen="S1")[0]
    assert (resting.state, resting.cause) == (TaskState.QUEUED, "PEL-SLIDE-004: the share\ufffd is away")
    assert resting.not_before > resting.lease_until if resting.lease_until else resting.not_before > 0
    assert ward.claim().specimen == "S2"
    assert ward.records.claim(process_owner()) is None
    ward.pass_time(61)
    again = ward.claim()
    assert (again.specimen, again.attempts) == ("S1", 2)


def test_leases_are_kept_together_and_the_lost_ones_told(ward):
    ward.enqueue("S1", "S2", "S3")
    tasks = [ward.claim() for _ in range(3)]
    ward.records.release(tasks[1])
    assert ward.records.extend_all(tasks, lease_s=600) == {tasks[1].key}
    assert ward.records.extend_all([]) == set()
    left = {task.specimen: task.lease_until for task in ward.records.tasks(state=TaskState.LEASED)}
    assert left.keys() == {"S1", "S3"}
    ward.pass_time(590)
    assert {task.specimen for task in (ward.claim(),)} == {"S2"}
    assert ward.records.claim(process_owner()) is None


@pytest.mark.parametrize("lane", [None, "m"])
def test_claim_finds_its_task_without_reading_the_whole_table(file_ward, lane):
    with file_ward.records._database.write() as connection:
        plans = []

        def explain(cursor, statement, parameters):
            if " task" in statement and "EXPLAIN" not in statement:
                plans.extend(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        event.listen(
            connection, "before_cursor_execute", lambda _c, cursor, sql, values, _x, _m: explain(cursor, sql, values)
        )
        reclaiming.reclaim(connection)
        queue.claim(connection, "me", lease_s=60, lane=lane, min_priority=None)
    used = {index for plan in plans for index in INDEXES if index in plan}
    assert used == {"ix_task_leased", "ix_task_owner", "ix_task_lane" if lane else "ix_task_queued"}
    assert not [plan for plan in plans if plan in {"SCAN task", "USE TEMP B-TREE FOR ORDER BY"}]


def test_claim_passes_over_what_another_process_is_taking(server_ward):
    server_ward.enqueue("S1", "S2")
    held = select(tasks_table.c.id).where(tasks_table.c.specimen == "S1").with_for_update()
    with server_ward.records._database.write_rows() as connection:
        connection.execute(held)
        assert server_ward.claim().specimen == "S2"
        begun = time.monotonic()
        assert server_ward.records.claim(process_owner()) is None
        assert 0.2 < time.monotonic() - begun < 5
    assert server_ward.claim().specimen == "S1"


def test_claims_do_not_wait_for_a_transaction_that_writes(server_ward):
    server_ward.enqueue("S1")
    with server_ward.records._database.write():
        task = server_ward.claim()
        assert server_ward.records.extend(task)
        assert server_ward.records.release(task)


def test_more_keys_than_a_statement_takes_parameters(ward):
    ward.enqueue("S1", "S2")
    keys = [f"{number:064x}" for number in range(40_000)] + [ward.key("S2"), ward.key("S1")]
    assert [task.specimen for task in ward.records.tasks(keys=keys)] == ["S1", "S2"]


def test_two_processes_never_claim_the_same_task(ward, spawn):
    names = [f"S{number}" for number in range(60)]
    ward.enqueue(*names)
    claimers = [spawn(CLAIMER) for _ in range(2)]
    for process in claimers:
        assert process.stdout.readline() == "ready\n"
    for process in claimers:
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [json.loads(process.stdout.readline()) for process in claimers]
    assert sorted(claimed[0] + claimed[1]) == sorted(ward.key(name) for name in names)


def test_lease_of_a_killed_process_is_taken_over_at_once(ward, spawn):
    ward.enqueue("S1")
    holder = spawn(HOLDER)
    assert holder.stdout.readline().strip() == ward.key("S1")
    assert ward.records.claim(process_owner()) is None
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # ended, but still a zombie of this process
    assert ward.claim().key == ward.key("S1")


def test_enqueue_reports_what_a_killed_run_had_begun(ward, spawn):
    ward.enqueue("S1")
    holder = spawn(HOLDER)
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    assert ward.records.enqueue([new(ward, "S1")]).requeued == (ward.key("S1"),)
