"""What the deaths of owners and of their processes mean for a task."""

import pytest

from pellucid.records import LeaseLost, Quarantined, TaskState, WorkerDied, process_owner

ELSEWHERE = "elsewhere:1:1"


def lose(ward, times=1):
    """Let owners elsewhere claim and fall silent."""
    for _ in range(times):
        assert ward.records.claim(ELSEWHERE, lease_s=-1) is not None


def test_death_of_an_owner_is_counted_and_a_third_one_makes_the_task_one_to_do_alone(ward):
    ward.enqueue("S1")
    for deaths in range(3):
        task = ward.records.claim(ELSEWHERE, lease_s=-1)
        assert (task.deaths, task.kills, task.alone, task.attempts) == (deaths, 0, False, deaths + 1)
    task = ward.claim()
    assert (task.deaths, task.kills, task.alone) == (3, 0, True)
    assert "lease ran out" in ward.records.tasks()[0].cause


def test_step_that_was_made_forgives_earlier_deaths(ward):
    ward.enqueue("S1", "S2")
    for _ in range(2):
        silent = [ward.records.claim(ELSEWHERE) for _ in range(2)]
        ward.pass_time(121)
        assert {task.specimen for task in silent} == {"S1", "S2"}
    task, other = ward.claim(), ward.claim()
    assert (task.deaths, other.deaths) == (2, 2)
    assert ward.records.extend_all([task, other], progressed={task.key}) == set()
    assert {item.specimen: item.deaths for item in ward.records.tasks()} == {"S1": 0, "S2": 2}
    assert ward.records.extend(other, progressed=True)
    assert ward.records.tasks(specimen="S2")[0].deaths == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_task_that_ends_its_owner_each_time_it_is_alone_is_quarantined(ward, limit):
    ward.enqueue("S1", max_attempts=limit)
    lose(ward, 3 + limit)
    assert ward.records.claim(process_owner()) is None
    (task,) = ward.records.tasks()
    assert (task.state, task.error_code) == (TaskState.QUARANTINED, WorkerDied.code)
    assert (task.attempts, task.deaths, task.kills) == (3 + limit, 3 + limit, limit)
    event = ward.records.audit_events()[-1].content
    assert (event["action"], event["details"]["code"]) == ("predict.fail", WorkerDied.code)
    assert ward.records.claim(process_owner()) is None
    assert ward.records.audit_events()[-1].content == event
    assert ward.records.verify_audit().ok


def test_process_that_died_over_a_task_is_blamed_on_it(ward):
    ward.enqueue("S1")
    task = ward.claim()
    assert ward.records.blame(task, "SIGSEGV") == 1
    assert ward.records.blame(task, "SIGSEGV\x00") == 2
    assert ward.records.tasks()[0].cause == "SIGSEGV\ufffd"
    assert ward.records.release(task)
    again = ward.claim()
    assert (again.kills, again.alone) == (2, True)
    with pytest.raises(LeaseLost):
        ward.records.blame(task, "SIGSEGV")


def test_owner_that_dies_after_blaming_twice_leaves_the_task_quarantined(ward):
    ward.enqueue("S1")
    task = ward.claim()
    ward.records.blame(task, "SIGSEGV")
    ward.records.blame(task, "SIGSEGV")
    ward.records.release(task)
    lose(ward)
    assert ward.records.claim(process_owner()) is None
    assert ward.records.tasks()[0].state is TaskState.QUARANTINED


def test_quarantine_is_recorded_like_a_failure(ward):
    ward.enqueue("S1")
    ward.records.quarantine(ward.claim(), "SIGSEGV in /secret/S1.svs", ward.observation("S1", error=Quarantined.code))
    (task,) = ward.records.tasks()
    assert (task.state, task.error_code) == (TaskState.QUARANTINED, Quarantined.code)
    assert task.error_message == task.cause == "SIGSEGV in /secret/S1.svs"
    event = ward.records.audit_events()[-1].content
    assert (event["action"], event["details"]["state"]) == ("predict.fail", "quarantined")
    assert "secret" not in str(event)
    assert len(ward.records.observations()) == 1
    assert ward.records.retry_failed() == 0
    assert ward.records.claim(process_owner()) is None
    assert ward.records.verify_audit().ok


def test_quarantined_task_is_left_so_by_whoever_enters_it_again(ward):
    ward.enqueue("S1")
    ward.records.quarantine(ward.claim(), "SIGSEGV")
    tasks = ward.records.tasks()
    ward.enqueue("S1", priority=3)
    assert ward.records.tasks() == tasks
    assert ward.records.counts()[TaskState.QUARANTINED] == 1


def test_clock_that_jumps_ahead_costs_a_death_and_no_result(ward):
    """Every lease runs out at once while its owner works on; both finish, one is told that it came too late."""
    ward.enqueue("S1", "S2")
    held = [ward.claim(), ward.claim()]
    ward.pass_time(7200)
    second = ward.claim()
    assert (second.key, second.deaths) == (held[0].key, 1)
    ward.complete(second)
    for task in held:
        with pytest.raises(LeaseLost):
            ward.complete(task)
    ward.complete(ward.claim())
    assert [result.specimen for result in ward.records.scan_results()] == ["S1", "S2"]
    assert ward.records.counts()[TaskState.DONE] == 2


def test_clock_that_jumps_back_keeps_leases_longer_and_nothing_is_lost(ward):
    ward.enqueue("S1", "S2")
    silent = ward.records.claim(ELSEWHERE, lease_s=60)
    ward.pass_time(-3600)
    assert ward.claim().specimen == "S2"
    assert ward.records.claim(process_owner()) is None
    ward.pass_time(3600 + 61)
    again = ward.claim()
    assert (again.key, again.token) == (silent.key, silent.token + 1)
