"""The journal of a training: what it writes, what a resume takes back, stalls, and places that refuse."""

import json
import os
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from journals import Listener, Load, Rank, Save, SetClock, make_steps, open_journal
from pellucid.core.errors import PellucidError
from pellucid.training.errors import TrainingDiverged, TrainingInterrupted
from pellucid.training.journal import Journal, TrainingState, read_lines, read_status


def events(run, *keys):
    lines = list(read_lines(run / "events.jsonl"))
    return [line["event"] for line in lines] if not keys else [tuple(line.get(key) for key in keys) for line in lines]


def steps_of(run, task="head"):
    return [line["step"] for line in read_lines(run / "metrics.jsonl") if line["task"] == task and "kind" not in line]


def prom(run):
    families = text_string_to_metric_families((run / "metrics.prom").read_text())
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["run"] for sample in samples} == {run.name}
    return {sample.name.removeprefix("pellucid_training_"): sample.value for sample in samples}


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run-7"


def test_a_whole_training_is_written_down(run, clock):
    with open_journal(run, clock, synthetic=True) as journal:
        journal.started({"config": "c" * 64}, command="pellucid train cohort.csv")
        journal.task_started("head", 20, epoch_steps=10)
        make_steps(journal, clock, 0, 10, n_steps=20, learning_rate=1e-3)
        journal.epoch("head", 0, {"score": 0.75, "auroc": 0.75})
        journal.checkpoint("head", Save(step=10), interval_s=300.0)
        make_steps(journal, clock, 10, 20, n_steps=20, learning_rate=1e-3)
        journal.checkpoint("head", Save(step=20))
        journal.task_finished("head", 20)
        journal.finished()

    assert events(run) == ["started", "task_started", "checkpoint", "checkpoint", "task_finished", "finished"]
    lines = list(read_lines(run / "metrics.jsonl"))
    assert [line["step"] for line in lines] == [*range(10), 9, *range(10, 20)]
    assert lines[10] == {
        "at": lines[10]["at"], "kind": "epoch", "task": "head", "step": 9, "epoch": 0, "score": 0.75, "auroc": 0.75,
    }  # fmt: skip
    assert lines[0] == {
        "at": "2023-11-14T22:13:21.000Z", "task": "head", "step": 0, "epoch": 0, "loss": 1.0, "learning_rate": 1e-3,
    }  # fmt: skip
    status = read_status(run)
    assert status.state is TrainingState.FINISHED
    assert (status.step, status.n_steps, status.n_epochs, status.durable_step) == (20, 20, 2, 20)
    assert status.process.pid == os.getpid()
    assert (run / "losses.png").stat().st_size > 1000
    assert any((run / "tensorboard" / "head").iterdir())


def test_events_are_on_the_file_at_once(run, clock):
    journal = open_journal(run, clock)
    journal.event("slide_failed", code="PEL-SLIDE-006", slide="ab12")

    assert events(run, "event", "code", "at") == [("slide_failed", "PEL-SLIDE-006", "2023-11-14T22:13:20.000Z")]


def test_other_ranks_write_nothing(run, clock):
    with Journal(run, Rank(is_first=False), clock=clock) as journal:
        journal.started()
        journal.task_started("head", 10)
        journal.step("head", 0, 10, 0, {"loss": 1.0})
        journal.epoch("head", 0, {})
        journal.stage("survey", 1, 2)
        journal.checkpoint("head", Save(step=1, error="no space"))
        journal.resumed("head", Load(step=1), 10)
        journal.look()
        journal.finished()

    assert not run.exists()


def test_a_resume_supersedes_the_steps_that_are_done_again(run, clock):
    with open_journal(run, clock) as journal:
        journal.task_started("encoder", 5)
        make_steps(journal, clock, 0, 5, task="encoder")
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 37)
        journal.interrupted()
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"task": "head", "step": 37, "lo')
    with open_journal(run, clock) as journal:
        journal.resumed("encoder", Load(step=5), 5)
        journal.resumed(
            "head", Load(step=30, rejected=(("step-00000035", "a file is missing"),), forced=("code",)), 100
        )
        make_steps(journal, clock, 30, 40)

    assert steps_of(run) == list(range(40))
    assert steps_of(run, "encoder") == list(range(5))
    assert events(run, "event", "task", "step")[:3] == [
        ("task_started", "encoder", 0),
        ("task_started", "head", 0),
        ("interrupted", "head", 37),
    ]
    assert events(run)[3:] == ["resumed", "resumed", "checkpoint_rejected", "forced", "interrupted"]
    assert prom(run)["checkpoint_rejected_total"] == 1


def test_a_task_begun_anew_supersedes_all_of_it(run, clock):
    with open_journal(run, clock) as journal:
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 9)
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 4)

    assert steps_of(run) == [0, 1, 2, 3]


def test_the_status_tells_what_a_kill_would_lose_and_when_it_ends(run, clock):
    journal = open_journal(run, clock, interval_s=300.0)
    journal.task_started("head", 1000, epoch_steps=10)
    make_steps(journal, clock, 0, 10, waited_s=0.25)
    clock.go(5)
    journal.epoch("head", 0, {"score": 0.5})
    clock.go(2)
    journal.checkpoint("head", Save(step=10, seconds=2.0), interval_s=400.0)
    make_steps(journal, clock, 10, 14, waited_s=0.25)
    clock.go(0.5)
    journal.look()
    status = read_status(run)

    assert (status.durable_step, status.lost_steps, status.lost_s) == (10, 4, 4.5)
    assert status.eta_s == pytest.approx(986 + 99 * 5 + (3 + 99) * 2)
    assert status.steps_per_s == 1.0
    assert status.waiting_share == pytest.approx(0.25)
    assert (status.score, status.interval_s, status.save_s, status.epoch, status.n_epochs) == (0.5, 400, 2, 1, 100)
    assert status.at - status.last_step_at == 0.5
    metrics = prom(run)
    assert metrics["step"] == 14
    assert metrics["running"] == 1
    assert metrics["checkpoint_interval_seconds"] == 400
    assert metrics["checkpoint_last_verified_timestamp_seconds"] == status.durable_at == status.at - 4.5


def test_a_task_that_is_kept_whole_has_nothing_to_lose_in_the_stage_after_it(run, clock):
    journal = open_journal(run, clock)
    journal.task_started("head", 3)
    make_steps(journal, clock, 0, 3, n_steps=3)
    journal.checkpoint("head", Save(step=3))
    clock.go(5000)
    journal.stage("bags", 3, 40)
    journal.look()
    status = read_status(run)

    assert (status.lost_steps, status.lost_s, status.durable_at) == (0, 0.0, status.at)
    assert (status.stage, status.stage_done, status.stage_total) == ("bags", 3, 40)


def test_a_task_s_own_steps_are_no_stage(run, clock):
    journal = open_journal(run, clock)
    journal.task_started("head", 3)
    journal.stage("head", 1, 3)
    journal.look()

    assert read_status(run).stage == ""


def test_every_series_is_there_from_the_start(run, clock):
    with open_journal(run, clock):
        metrics = prom(run)

    assert set(metrics) == {
        "step", "steps", "epoch", "loss", "steps_per_second", "heartbeat_timestamp_seconds",
        "last_step_timestamp_seconds", "stall_limit_seconds", "checkpoint_last_verified_timestamp_seconds",
        "checkpoint_interval_seconds", "checkpoint_seconds", "waiting_share", "stalled", "running",
        "checkpoint_failures_total", "checkpoint_rejected_total", "slides_failed_total",
    }  # fmt: skip
    assert metrics["checkpoint_failures_total"] == metrics["slides_failed_total"] == metrics["stalled"] == 0
    assert metrics["checkpoint_last_verified_timestamp_seconds"] == metrics["last_step_timestamp_seconds"] == clock.at


def test_a_failed_save_raises_the_alarm_and_keeps_what_was_durable(run, clock):
    listener = Listener()
    journal = open_journal(run, clock, telling=listener)
    journal.task_started("head", 100)
    make_steps(journal, clock, 0, 5)
    journal.checkpoint("head", Save(step=5, error="No space is left to write '/data/MUELLER/step'."))
    journal.look()

    assert events(run, "event", "step", "error")[-1] == (
        "checkpoint_failed", 5, "No space is left to write <path>.",
    )  # fmt: skip
    assert (read_status(run).checkpoint_failures, read_status(run).lost_steps) == (1, 5)
    assert prom(run)["checkpoint_failures_total"] == 1
    assert "could not be saved" in listener.said[0]


def test_failed_slides_are_counted(run, clock):
    journal = open_journal(run, clock)
    journal.event("slide_failed", code="PEL-SLIDE-006")
    journal.look()
    journal.look()

    assert prom(run)["slides_failed_total"] == 1


def test_a_stall_is_told_once_and_cleared_by_the_next_step(run, clock):
    listener = Listener()
    journal = open_journal(run, clock, stall_s=60.0, telling=listener)
    journal.task_started("head", 100)
    make_steps(journal, clock, 0, 3)
    stepped = clock.at
    clock.go(59)
    journal.look()
    assert read_status(run).state is TrainingState.RUNNING
    for _ in range(2):
        clock.go(30)
        journal.look()
    status = read_status(run)
    assert status.state is TrainingState.STALLED
    assert (status.last_step_at, status.at) == (stepped, clock.at)
    assert (prom(run)["stalled"], prom(run)["running"]) == (1, 1)

    make_steps(journal, clock, 3, 4)
    journal.look()
    assert prom(run)["stalled"] == 0
    assert events(run) == ["task_started", "stalled", "went_on"]
    assert ["stalled" in text for text in listener.said] == [True, False]


def test_long_steps_are_no_stall(run, clock):
    journal = open_journal(run, clock, stall_s=60.0)
    journal.task_started("head", 100)
    make_steps(journal, clock, 0, 5, each_s=50.0)
    clock.go(249)
    journal.look()
    assert read_status(run).state is TrainingState.RUNNING
    assert read_status(run).stall_limit_s == 250
    clock.go(2)
    journal.look()

    assert read_status(run).state is TrainingState.STALLED


def test_a_stage_without_steps_is_no_stall_while_it_goes_on(run, clock):
    journal = open_journal(run, clock, stall_s=60.0)
    for done in range(5):
        clock.go(50)
        journal.stage("survey", done, 5)
        journal.look()
    assert "stalled" not in events(run)
    clock.go(61)
    journal.look()

    assert events(run) == ["stalled"]


def test_the_watch_tells_of_a_stall_while_the_training_hangs(run):
    with Journal(run, Rank(), stall_s=0.3, watch_s=0.05) as journal:
        journal.task_started("head", 100)
        deadline = time.monotonic() + 60
        while "stalled" not in events(run):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert read_status(run).state is TrainingState.STALLED
        journal.finished()

    assert events(run)[-1] == "finished"
    assert read_status(run).state is TrainingState.FINISHED


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (TrainingDiverged("The loss is NaN."), "failed", ("PEL-TRAIN-003", "The loss is NaN.")),
        (ValueError("'/data/MUELLER/a.svs'"), "failed", ("ValueError", "<path>")),
        (TrainingInterrupted("stopped"), "interrupted", (None, None)),
        (KeyboardInterrupt(), "interrupted", (None, None)),
        (SystemExit(1), "interrupted", (None, None)),
    ],
)
def test_an_exception_is_how_it_ended(run, clock, error, state, told):
    with pytest.raises(type(error)), open_journal(run, clock):
        raise error

    assert read_status(run).state.value == state
    assert events(run, "event", "code", "message") == [(state, *told)]
    assert prom(run)["running"] == 0


def test_an_end_that_was_told_stays(run, clock):
    def stop_and_fail(journal):
        journal.interrupted("head", 12)
        raise TrainingDiverged("later")

    with pytest.raises(PellucidError), open_journal(run, clock) as journal:
        stop_and_fail(journal)

    assert events(run, "event", "task", "step") == [("interrupted", "head", 12)]


def test_a_place_that_refuses_ends_no_training_and_is_told(run, clock):
    with open_journal(run, clock) as journal:
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 2)
        journal.epoch("head", 0, {})
        (run / "losses.png").unlink(missing_ok=True)
        (run / "losses.png").mkdir()
        (run / "losses.png" / "in the way").touch()
        clock.go(1000)
        journal.look()
        make_steps(journal, clock, 2, 4)
        journal.look()
        assert "curves" in read_status(run).problem

    assert steps_of(run) == [0, 1, 2, 3]
    assert read_status(run).state is TrainingState.INTERRUPTED


def test_a_folder_that_cannot_be_made_is_known_at_once(tmp_path, clock):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        open_journal(tmp_path / "file" / "run", clock)


def test_whoever_looks_is_shown_each_second(run, clock):
    listener = Listener()
    with open_journal(run, clock, telling=listener) as journal:
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 2)
        journal.look()

    assert [status.step for status in listener.shown] == [0, 2, 2, 2]


def test_the_status_is_json_that_other_programs_read(run, clock):
    with open_journal(run, clock) as journal:
        journal.task_started("head", 100)
        make_steps(journal, clock, 0, 1)
        journal.step("head", 1, 100, 0, {"loss": float("nan")})
        journal.look()
        plain = json.loads((run / "status.json").read_text())

    assert plain["loss"] is None
    assert plain["state"] == "running"
    assert plain["task"] == "head"
    assert not list(Path(run).glob(".*.part"))
