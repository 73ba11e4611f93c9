"""`pellucid train status` and the progress: what a person is told of a training, and when the command fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from journals import Save, SetClock, keep, make_steps, open_journal
from pellucid.cli.status import status as status_of_all
from pellucid.cli.train_progress import TrainingProgress
from pellucid.cli.train_status import status

app = typer.Typer()
app.command("status")(status)
everything = typer.Typer()
everything.command("status")(status_of_all)


def told(run, *words, code=0, of=app):
    done = CliRunner().invoke(of, [*words, str(run)], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def clock():
    return SetClock(at=time.time() - 60)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run-7"


def trained(run, clock, *, kept=40, steps=50, n_steps=100, **options):
    journal = open_journal(run, clock, interval_s=300.0, **options)
    journal.task_started("head", n_steps, epoch_steps=10)
    make_steps(journal, clock, 0, kept, n_steps=n_steps)
    keep(run, "head", kept, clock.at)
    journal.checkpoint("head", Save(step=kept), interval_s=300.0)
    make_steps(journal, clock, kept, steps, n_steps=n_steps)
    clock.at = time.time()
    journal.look()
    return journal


def test_a_well_training_is_told_with_what_a_kill_would_lose(run, clock):
    trained(run, clock, synthetic=True)
    shown = told(run)

    assert "Training run-7: RUNNING" in shown
    assert "head: step 50 of 100, epoch 5 of 10, loss 0.02" in shown
    assert "about 60 s of this task left" in shown
    assert "A kill now would lose 10 steps" in shown
    assert "40 of 100 steps" in shown
    assert "Verified by SHA-256" in shown
    assert "Synthetic slides" in shown
    assert "ALARM" not in shown


def test_json_says_the_same(run, clock):
    trained(run, clock)
    plain = json.loads(told(run, "--json"))

    assert (plain["run"], plain["life"], plain["lost_steps"], plain["overdue"]) == ("run-7", "running", 10, False)
    assert plain["tasks"][0]["kept"] == 40
    assert plain["status"]["step"] == 50
    assert plain["alarms"] == []


def test_a_damaged_checkpoint_fails_the_command_and_is_named(run, clock):
    trained(run, clock)
    path = run / "checkpoints" / "head" / "step-00000040" / "shard-0.bin"
    path.write_bytes(bytes(1500))

    shown = told(run, code=1)
    assert "ALARM" in shown
    assert "step-00000040" in shown
    assert "SHA-256 differs" in shown
    assert "A kill now would lose 50 steps" in shown
    assert "Only sizes were compared" in told(run, "--fast")


def test_a_stalled_training_fails_the_command(run, clock):
    journal = trained(run, clock, stall_s=60.0)
    clock.ticks += 100
    journal.look()

    assert "STALLED" in told(run, code=1)


def test_a_finished_training_is_well_for_ever(run, clock):
    with trained(run, clock, kept=100, steps=100) as journal:
        journal.finished()

    shown = told(run)
    assert "FINISHED" in shown
    assert "nothing to lose" in shown


def test_a_killed_training_fails_the_command_and_says_what_is_kept(run):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from journals import Rank, Save, keep\n"
        "from pellucid.training.journal import Journal\n"
        f"run = Path({str(run)!r})\n"
        "with Journal(run, Rank(), watch_s=0.05) as journal:\n"
        "    journal.task_started('head', 10)\n"
        "    for number in range(6):\n"
        "        journal.step('head', number, 10, 0, {'loss': 1.0})\n"
        "        if number == 3:\n"
        "            keep(run, 'head', 4, time.time())\n"
        "            journal.checkpoint('head', Save(step=4))\n"
        "    journal.look()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    assert "RUNNING" in told(run)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()

    shown = told(run, code=1)
    assert "DEAD" in shown
    assert "Its end lost 2 steps" in shown
    assert "4 of 10 steps" in shown
    assert "goes on from the newest checkpoint" in shown


def test_a_folder_without_a_training_is_a_coded_error(tmp_path):
    done = CliRunner().invoke(app, [str(tmp_path)])

    assert getattr(done.exception, "code", "") == "PEL-TRAIN-060"


def test_the_status_of_everything_shows_trainings_too(tmp_path, run, clock):
    trained(run, clock)
    # there are no records here, which is a problem of its own
    done = CliRunner().invoke(everything, ["--out", str(tmp_path)], env={"COLUMNS": "300"})
    plain = json.loads(CliRunner().invoke(everything, ["--out", str(tmp_path), "--json"]).stdout)

    assert "Training run-7: RUNNING" in done.stdout
    assert "A kill now would lose 10 steps" in done.stdout
    assert [one["run"] for one in plain["trainings"]] == ["run-7"]


def test_neither_the_status_nor_the_progress_imports_torch():
    names = ("torch", "matplotlib", "tensorboardX")
    code = (
        "import sys\n"
        "import pellucid.cli.train_status_view, pellucid.cli.train_progress, pellucid.training.journal.health\n"
        f"print(*[name for name in {names!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_in_a_log_progress_is_a_line_now_and_then(run, clock, capsys):
    with TrainingProgress(live=False) as progress, open_journal(run, clock, telling=progress) as journal:
        journal.stage("survey", 1, 2)
        journal.look()
        journal.task_started("head", 60)
        make_steps(journal, clock, 0, 10, n_steps=60)
        for _ in range(5):
            journal.look()
        journal.checkpoint("head", Save(step=10, error="No space is left."))
        journal.finished()
    lines = capsys.readouterr().err.splitlines()

    assert lines[0] == "survey: 1 of 2"
    assert lines[1] == "head: step 10 of 60, loss 0.1, 1.0 steps/s; about 50 s left, a kill loses 10 s"
    assert "could not be saved" in lines[2]
    assert lines[3].startswith("finished; head: step 10 of 60")
    assert len(lines) == 4


def test_on_a_terminal_progress_is_a_bar_a_task(run, clock, capsys):
    with TrainingProgress(live=True) as progress, open_journal(run, clock, telling=progress) as journal:
        for task in ("encoder", "head"):
            journal.task_started(task, 20)
            make_steps(journal, clock, 0, 20, task=task, n_steps=20)
            journal.look()
        journal.rejected("head", "step-00000005", "a file is missing")
    shown = capsys.readouterr().err

    assert "encoder" in shown
    assert "20/20" in shown
    assert "passed over" in shown


def test_other_ranks_show_nothing(run, clock, capsys):
    with TrainingProgress(shows=False, live=False) as progress, open_journal(run, clock, telling=progress) as journal:
        journal.task_started("head", 20)
        journal.look()
        progress.say("something")

    assert capsys.readouterr().err == ""
