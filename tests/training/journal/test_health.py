"""Whether a training is well is judged by what is on the disk: real checkpoints, real killed processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from journals import Load, Rank, Save, SetClock, keep, make_steps, open_journal
from pellucid.training.errors import TrainingDiverged
from pellucid.training.journal import Journal, TrainingMissing, read_status
from pellucid.training.journal.health import Life, find_trainings, look_at_training
from pellucid.training.journal.status import write_status

TESTS = Path(__file__).parents[2]


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run-7"


def begun(run, clock, steps=10, kept=5, interval_s=300.0, **options):
    """A training that lives in this process: some steps, of which some are kept."""
    journal = open_journal(run, clock, interval_s=interval_s, **options)
    journal.task_started("head", 100)
    make_steps(journal, clock, 0, kept or 0)
    if kept is not None:
        keep(run, "head", kept, clock.at)
        journal.checkpoint("head", Save(step=kept))
    make_steps(journal, clock, kept or 0, steps)
    journal.look()
    return journal


def killed_training(run, then=""):
    """A process of its own that trains and is killed in the midst of its steps; the step it had told of last."""
    code = (
        "import itertools, sys, time\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "from journals import Rank, Save, keep\n"
        "from pellucid.training.journal import Journal\n"
        f"run = Path({str(run)!r})\n"
        "with Journal(run, Rank(), watch_s=0.05, interval_s=300.0) as journal:\n"
        "    journal.started()\n"
        "    journal.task_started('head', 1_000_000)\n"
        "    for number in itertools.count():\n"
        "        time.sleep(0.001)\n"
        "        journal.step('head', number, 1_000_000, 0, {'loss': 1.0})\n"
        "        if number == 40:\n"
        "            keep(run, 'head', 41, time.time())\n"
        "            journal.checkpoint('head', Save(step=41, seconds=0.01))\n"
        "        if number >= 200 and number % 50 == 0: print(number, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [int(child.stdout.readline()) for _ in range(3)][-1]
    deadline = time.monotonic() + 60
    while (status := read_status(run)) is None or status.step <= told:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    return told


def test_a_folder_without_a_training_is_said_so(tmp_path):
    with pytest.raises(TrainingMissing):
        look_at_training(tmp_path)


def test_a_running_training_is_well_and_a_kill_costs_what_is_not_kept(run, clock):
    begun(run, clock)
    report = look_at_training(run, now=clock.at + 2)

    assert report.life is Life.RUNNING
    assert (report.lost_steps, report.lost_s) == (5, 7.0)
    assert report.alarms == ()
    (task,) = report.tasks
    assert (task.task, task.kept, task.age_s, task.n_steps, task.in_hand) == ("head", 5, 7.0, 100, True)
    assert task.n_bytes == 3000


def test_what_is_lost_counts_from_the_disk_and_not_from_what_was_said(run, clock):
    journal = begun(run, clock)
    journal.checkpoint("head", Save(step=10))
    journal.look()

    assert read_status(run).lost_steps == 0
    assert look_at_training(run, now=clock.at).lost_steps == 5


def test_a_resumed_training_does_not_lose_the_time_it_was_away(run, clock):
    begun(run, clock)
    clock.go(86_400)
    journal = open_journal(run, clock)
    journal.resumed("head", Load(step=5), 100)
    make_steps(journal, clock, 5, 8)
    journal.look()
    report = look_at_training(run, now=clock.at)

    assert (report.lost_steps, report.lost_s) == (3, 3.0)
    assert not report.overdue


@pytest.mark.parametrize(("kept", "waits", "overdue"), [(5, 890, False), (5, 900, True), (None, 905, True)])
def test_a_checkpoint_is_overdue_after_three_intervals(run, clock, kept, waits, overdue):
    journal = begun(run, clock, kept=kept)
    clock.go(waits)
    make_steps(journal, clock, 10, 11)
    journal.look()
    report = look_at_training(run, now=clock.at)

    assert report.overdue is overdue
    assert any("3 intervals" in alarm for alarm in report.alarms) is overdue


def test_a_flipped_bit_is_found_and_the_older_checkpoint_counts(run, clock):
    begun(run, clock)
    keep(run, "head", 9, clock.at)
    path = run / "checkpoints" / "head" / "step-00000009" / "shard-1.bin"
    data = bytearray(path.read_bytes())
    data[1234] ^= 1
    path.write_bytes(data)
    report = look_at_training(run, now=clock.at)

    (task,) = report.tasks
    assert task.kept == 5
    assert [name for name, _ in task.damaged] == ["step-00000009"]
    assert report.lost_steps == 5
    assert any("step-00000009" in alarm and "step 5 is the newest whole one" in alarm for alarm in report.alarms)
    assert look_at_training(run, hashes=False, now=clock.at).tasks[0].kept == 9


def test_a_truncated_checkpoint_is_found_by_its_size_alone(run, clock):
    begun(run, clock)
    path = keep(run, "head", 9, clock.at) / "shard-0.bin"
    path.write_bytes(path.read_bytes()[:-1])

    assert look_at_training(run, hashes=False, now=clock.at).tasks[0].kept == 5


def test_no_whole_checkpoint_at_all_is_an_alarm(run, clock):
    begun(run, clock)
    (run / "checkpoints" / "head" / "step-00000005" / "shard-0.bin").unlink()
    report = look_at_training(run, now=clock.at)

    assert report.tasks[0].kept is None
    assert report.lost_steps == 10
    assert any("nothing of it is kept" in alarm for alarm in report.alarms)


def test_a_killed_training_is_dead_and_its_loss_is_told(run):
    told = killed_training(run)
    report = look_at_training(run)

    assert report.life is Life.DEAD
    assert report.status.state.value == "running"
    assert report.tasks[0].kept == 41
    assert report.lost_steps == report.status.step - 41
    assert report.status.step > told
    assert 0 < report.lost_s < 120
    assert any("killed" in alarm for alarm in report.alarms)


def test_a_killed_training_goes_on_without_a_step_twice_or_missing(run):
    from pellucid.training.journal import read_lines

    killed_training(run)
    with Journal(run, Rank(), watch_s=None) as journal:
        journal.resumed("head", Load(step=41), 60)
        for number in range(41, 60):
            journal.step("head", number, 60, 0, {"loss": 2.0})
        journal.finished()

    lines = list(read_lines(run / "metrics.jsonl"))
    assert [line["step"] for line in lines] == list(range(60))
    assert {line["loss"] for line in lines[41:]} == {2.0}


def test_one_on_another_machine_that_says_nothing_is_silent(run, clock):
    begun(run, clock)
    status = read_status(run)
    write_status(run, replace(status, process=replace(status.process, host="elsewhere")))

    assert look_at_training(run, now=clock.at + 50).life is Life.RUNNING
    report = look_at_training(run, now=clock.at + 70)
    assert report.life is Life.SILENT
    assert "elsewhere" in report.alarms[0]


def test_a_stalled_training_raises_its_alarm(run, clock):
    journal = begun(run, clock, stall_s=60.0)
    clock.go(61)
    journal.look()
    report = look_at_training(run, now=clock.at)

    assert report.life is Life.STALLED
    assert "nothing has ended for 61 s" in report.alarms[0]


def test_a_finished_training_is_well_and_has_nothing_to_lose(run, clock):
    with open_journal(run, clock) as journal:
        journal.task_started("head", 10)
        make_steps(journal, clock, 0, 10, n_steps=10)
        keep(run, "head", 10, clock.at)
        journal.checkpoint("head", Save(step=10))
        journal.finished()
    report = look_at_training(run, now=clock.at + 1e6)

    assert (report.life, report.lost_steps, report.alarms) == (Life.FINISHED, 0, ())
    assert report.tasks[0].is_done


def test_an_interrupted_training_that_was_saved_is_well(run, clock):
    with begun(run, clock, steps=5, kept=5) as journal:
        journal.interrupted("head", 5)
    report = look_at_training(run, now=clock.at + 1e6)

    assert (report.life, report.lost_steps, report.lost_s, report.alarms) == (Life.INTERRUPTED, 0, 0.0, ())


def test_an_interrupted_training_without_a_checkpoint_begins_anew(run, clock):
    with begun(run, clock, kept=None):
        pass
    report = look_at_training(run, now=clock.at)

    assert (report.life, report.lost_steps) == (Life.INTERRUPTED, 10)
    assert "begins anew" in report.alarms[0]


def test_a_failed_training_says_why(run, clock):
    with pytest.raises(TrainingDiverged), begun(run, clock):
        raise TrainingDiverged("The loss of step 11 is NaN.")
    report = look_at_training(run, now=clock.at)

    assert report.life is Life.FAILED
    assert "PEL-TRAIN-003 The loss of step 11 is NaN." in report.alarms[0]


def test_a_failed_save_is_an_alarm_until_one_succeeds(run, clock):
    journal = begun(run, clock)
    journal.checkpoint("head", Save(step=10, error="No space is left."))
    report = look_at_training(run, now=clock.at)
    assert report.failed_saves == 1
    assert "No space is left." in report.alarms[0]

    journal.checkpoint("head", Save(step=10))
    assert look_at_training(run, now=clock.at).alarms == ()


def test_rejected_checkpoints_and_failed_slides_are_told(run, clock):
    journal = begun(run, clock)
    journal.rejected("head", "step-00000008", "shard-0.bin is missing")
    (run / "failures.jsonl").write_text('{"code": "PEL-SLIDE-006"}\n{"code": "PEL-SLIDE-006"}\n{"co')
    report = look_at_training(run, now=clock.at)

    assert report.rejected == (("head", "step-00000008", "shard-0.bin is missing"),)
    assert report.slides_failed == {"PEL-SLIDE-006": 2}


def test_a_status_that_cannot_be_read_is_an_alarm_and_the_checkpoints_are_told_all_the_same(run, clock):
    begun(run, clock)
    (run / "status.json").write_text('{"state": "runn')
    report = look_at_training(run, now=clock.at)

    assert report.life is Life.SILENT
    assert report.tasks[0].kept == 5
    assert "can't be read" in report.alarms[0]


def test_every_task_is_told_in_the_order_of_its_begin(run, clock):
    journal = open_journal(run, clock)
    for task in ("encoder", "bags-fold-2", "head"):
        journal.task_started(task, 5)
        make_steps(journal, clock, 0, 5, task=task, n_steps=5)
        keep(run, task, 5, clock.at)
        journal.checkpoint(task, Save(step=5))
    journal.look()
    report = look_at_training(run, now=clock.at)

    assert [task.task for task in report.tasks] == ["encoder", "bags-fold-2", "head"]
    assert [task.in_hand for task in report.tasks] == [False, False, True]
    assert all(task.is_done for task in report.tasks)


def test_trainings_are_found_in_a_folder_and_an_engine_s_output_is_none(tmp_path, clock):
    begun(tmp_path / "b", clock)
    begun(tmp_path / "a", clock)
    (tmp_path / "c").mkdir()
    (tmp_path / "status.json").write_text('{"at": 1.0, "run_id": "run-1", "owner": "h:1:2", "state": "running"}')

    assert find_trainings(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_trainings(tmp_path / "a") == [tmp_path / "a"]
    assert find_trainings(tmp_path / "none") == []
