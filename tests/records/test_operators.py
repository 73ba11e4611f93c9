"""What people do to the queue, and that it is recorded who did."""

import pytest

from pellucid.records import STAT_PRIORITY, LeaseLost, Quarantined, TaskState, process_owner

ACTOR = "user:7"


def last_events(ward, number):
    events = [event.content for event in ward.records.audit_events()[-number:]]
    assert {event["actor"] for event in events} == {ACTOR}
    return [(event["action"], event["object"]["id"]) for event in events]


def test_failed_quarantined_and_resting_tasks_are_queued_as_if_new(ward):
    ward.enqueue("S1", "S2", "S3", "S4", "S5")
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    poison = ward.claim()
    ward.records.blame(poison, "SIGSEGV")
    ward.records.quarantine(poison, "SIGSEGV")
    ward.records.retry_later(ward.claim(), code="PEL-SLIDE-004", message="away", delay_s=600)
    ward.complete(ward.claim())
    ward.claim()
    keys = sorted(ward.key(name) for name in ("S1", "S2", "S3", "S4", "S5"))
    assert ward.records.requeue([*keys, "0" * 64], actor=ACTOR, priority=4) == 3
    tasks = {task.specimen: task for task in ward.records.tasks(state=TaskState.QUEUED)}
    assert tasks.keys() == {"S1", "S2", "S3"}
    for task in tasks.values():
        assert (task.attempts, task.deaths, task.kills, task.priority) == (0, 0, 0, 4)
        assert (task.cause, task.error_code, task.not_before, task.finished_at) == (None, None, None, None)
    assert sorted(last_events(ward, 3)) == sorted(("task.requeue", ward.key(name)) for name in tasks)
    assert ward.claim().specimen == "S3"  # it has waited since it came; the others anew
    assert ward.records.verify_audit().ok


def test_requeued_task_keeps_its_priority_where_none_is_given(ward):
    ward.enqueue("S1", priority=STAT_PRIORITY)
    ward.records.fail(ward.claim(), code="PEL-SLIDE-001", message="no file")
    ward.enqueue("S2", priority=9)
    assert ward.records.requeue([ward.key("S1")], actor=ACTOR) == 1
    assert ward.claim().specimen == "S1"


def test_quarantined_by_a_person_the_task_is_taken_off_its_owner(ward):
    ward.enqueue("S1", "S2")
    task = ward.claim()
    done = ward.claim()
    ward.complete(done)
    assert ward.records.quarantine_tasks([task.key, done.key], actor=ACTOR, reason="/secret/S1 hangs") == 1
    assert last_events(ward, 1) == [("task.quarantine", task.key)]
    assert "secret" not in str(ward.records.audit_events()[-1].content)
    found = ward.records.tasks(specimen="S1")[0]
    assert (found.state, found.error_code, found.cause) == (
        TaskState.QUARANTINED,
        Quarantined.code,
        "/secret/S1 hangs",
    )
    assert ward.records.extend_all([task]) == {task.key}
    with pytest.raises(LeaseLost):
        ward.records.quarantine(task, "/secret/S1 hangs")
    with pytest.raises(LeaseLost):
        ward.complete(task)


def test_priority_is_changed_for_what_waits_and_what_is_worked_on(ward):
    ward.enqueue("S1", "S2", "S3")
    held = ward.claim()
    assert ward.records.prioritise([held.key, ward.key("S3")], STAT_PRIORITY, ACTOR) == 2
    assert ward.records.prioritise([ward.key("S3")], STAT_PRIORITY, ACTOR) == 0
    ward.records.release(held)
    assert [ward.claim().specimen for _ in range(3)] == ["S1", "S3", "S2"]
    assert ward.records.verify_audit().ok


def test_paused_lane_gives_nothing_until_it_is_resumed(ward):
    ward.enqueue("S1", lane="a")
    ward.enqueue("S2", lane="b")
    assert ward.records.pause(lane="a", reason="scanner A is out of focus", actor=ACTOR)
    assert not ward.records.pause(lane="a", reason="again", actor=ACTOR)
    assert last_events(ward, 1) == [("queue.pause", "a")]
    assert ward.records.claim(process_owner(), lane="a") is None
    assert ward.claim().specimen == "S2"
    assert ward.records.claim(process_owner()) is None
    (pause,) = ward.records.pauses()
    assert (pause.lane, pause.reason, pause.actor) == ("a", "scanner A is out of focus", ACTOR)
    assert ward.records.resume(lane="a", actor=ACTOR)
    assert not ward.records.resume(lane="a", actor=ACTOR)
    assert ward.records.pauses() == []
    assert ward.records.claim(process_owner(), lane="a").specimen == "S1"
    assert ward.records.verify_audit().ok


def test_paused_queue_gives_nothing_and_what_is_worked_on_goes_on(ward):
    ward.enqueue("S1", "S2")
    task = ward.claim()
    ward.records.pause(reason="maintenance", actor=ACTOR)
    assert ward.records.claim(process_owner()) is None
    assert ward.records.claim(process_owner(), lane="") is None
    ward.complete(task)
    assert not ward.records.resume(lane="", actor=ACTOR)
    assert ward.records.resume(actor=ACTOR)
    assert last_events(ward, 1) == [("queue.resume", "all")]
    assert ward.claim().specimen == "S2"


def test_edited_reason_of_a_pause_is_found(ward):
    ward.records.pause(reason="maintenance", actor=ACTOR)
    ward.sql("UPDATE pause SET reason = 'none'")
    assert {problem.kind for problem in ward.records.verify_audit().problems} == {"row_edited"}


def test_summary_counts_by_state_and_lane_and_tells_who_waits(ward):
    empty = ward.records.queue_summary()
    assert (empty.lanes, empty.in_backoff, empty.oldest_waiting_s, empty.oldest_stat_s) == ({}, 0, 0.0, 0.0)
    ward.enqueue("S1", "S2", lane="a")
    ward.pass_time(100)
    ward.enqueue("S3", lane="b", priority=STAT_PRIORITY)
    ward.pass_time(20)
    ward.complete(ward.records.claim(process_owner(), lane="a"))
    ward.records.retry_later(ward.records.claim(process_owner(), lane="a"), code="C", message="m", delay_s=600)
    ward.records.pause(lane="b", reason="r", actor=ACTOR)
    summary = ward.records.queue_summary()
    assert summary.counts == ward.records.counts() == dict.fromkeys(TaskState, 0) | {"queued": 2, "done": 1}
    assert (summary.lanes["a"]["queued"], summary.lanes["a"]["done"], summary.lanes["b"]["queued"]) == (1, 1, 1)
    assert summary.in_backoff == 1
    assert 120 <= summary.oldest_waiting_s < 180
    assert 20 <= summary.oldest_stat_s < 80
    assert [pause.lane for pause in summary.pauses] == ["b"]
    one = ward.records.queue_summary("a")
    assert (list(one.lanes), one.counts["queued"], one.oldest_stat_s, one.pauses) == (["a"], 1, 0.0, ())
    assert ward.records.queue_summary("none").lanes["none"]["queued"] == 0


def test_tasks_are_chosen_by_lane_and_number(ward):
    ward.enqueue("S1", "S2", "S3", lane="a")
    ward.enqueue("S4", lane="b")
    assert [task.specimen for task in ward.records.tasks(lane="a", limit=2)] == ["S1", "S2"]
    assert [task.specimen for task in ward.records.tasks(lane="b", state=TaskState.QUEUED)] == ["S4"]
    keys = [ward.key(name) for name in ("S4", "S3", "S2")]
    assert [task.specimen for task in ward.records.tasks(keys=keys, limit=2)] == ["S2", "S3"]


def test_task_tells_who_has_it_until_when_and_how_it_ended(ward):
    ward.enqueue("S1", max_attempts=5)
    task = ward.claim()
    held = ward.records.tasks()[0]
    assert (held.owner, held.token, held.max_attempts) == (process_owner(), task.token, 5)
    assert held.lease_until > 1.7e9
    assert (held.enqueued_at, held.finished_at) == (task.enqueued_at, None)
    ward.complete(task)
    done = ward.records.tasks()[0]
    assert (done.owner, done.lease_until) == (None, None)
    assert done.finished_at >= done.enqueued_at
