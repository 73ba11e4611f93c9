"""`pellucid queue`, as an operator types it: what is shown, what is changed, and that nobody's name is seen."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pellucid.cli.errors import LaneUnknown, PauseUnknown, ScanUnknown
from pellucid.cli.queue import app
from pellucid.core.errors import PellucidError
from pellucid.records import STAT_PRIORITY, TaskState

SECRET = "MUELLER-ANNA"


def queue(site: Any, *words: object, wide: bool = True) -> Result:
    command, *rest = map(str, words)
    environment = {"COLUMNS": "160" if wide else "80"}
    return CliRunner().invoke(app, [command, "--out", str(site.out), *rest], env=environment)


def refused(site: Any, *words: object) -> PellucidError:
    done = queue(site, *words)
    assert done.exit_code == 1
    assert isinstance(done.exception, PellucidError), done.output
    return done.exception


def listed(site: Any, *words: object) -> dict[str, Any]:
    done = queue(site, "list", "--json", *words)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def task_of(site: Any, word: str) -> Any:
    return site.records.tasks(keys=[site.key(word)])[0]


def last_event(site: Any) -> dict[str, Any]:
    content: dict[str, Any] = site.records.audit_events()[-1].content
    return content


def test_the_list_shows_every_open_scan_in_its_state_and_the_urgent_one_first(site: Any) -> None:
    site.fill()

    answer = listed(site)

    states = [(task["scan"], task["state"]) for task in answer["tasks"]]
    assert states == [
        (site.name("running"), "leased"),
        (site.name("urgent"), "queued"),
        (site.name("routine"), "queued"),
        (site.name("resting"), "backoff"),
        (site.name("deadly"), "quarantined"),
        (site.name("broken"), "failed"),
    ]
    assert answer["counts"] == {
        "leased": 1,
        "queued": 2,
        "backoff": 1,
        "quarantined": 1,
        "failed": 1,
        "done": 1,
    }
    assert answer["oldest_stat_s"] < 60


def test_the_table_says_what_matters_of_each_state(site: Any) -> None:
    site.fill()

    shown = queue(site, "list").stdout

    lines = {word: next(line for line in shown.splitlines() if site.name(word) in line) for word in ("running",)}
    assert "lease for 10 min more" in lines["running"]
    assert "STAT" in shown
    assert "again in 15 min" in shown
    assert "SIGSEGV" in shown
    assert "PEL-SLIDE-006" in shown
    assert "2 queued, 1 backoff" in " ".join(shown.split())
    assert site.name("finished") not in shown
    assert site.name("finished") in queue(site, "list", "--all").stdout


@pytest.mark.parametrize(
    "words", [["list"], ["list", "--all"], ["list", "--json"], ["show", "broken"], ["show", "running", "--json"]]
)
def test_no_name_or_path_is_ever_shown(site: Any, words: list[str]) -> None:
    site.fill()
    words = [site.name(word) if word in {"broken", "running"} else word for word in words]

    shown = queue(site, *words).stdout

    assert re.search(r"F-[0-9A-Z]{8}", shown)
    assert SECRET not in shown
    assert ".svs" not in shown


@pytest.mark.parametrize("state", ["queued", "backoff", "leased", "failed", "quarantined", "done"])
def test_one_state_alone(site: Any, state: str) -> None:
    site.fill()

    assert {task["state"] for task in listed(site, "--state", state)["tasks"]} == {state}


def test_a_long_list_is_cut_and_says_so(site: Any) -> None:
    for number in range(7):
        site.enqueue(f"scan-{number}")

    assert len(listed(site, "--limit", 3)["tasks"]) == 3
    assert "4 more; --limit shows more" in queue(site, "list", "--limit", 3).stdout


def test_an_empty_queue_says_so(site: Any) -> None:
    assert "Queue: empty." in queue(site, "list").stdout


def test_the_table_fits_a_narrow_terminal(site: Any) -> None:
    site.fill()

    shown = queue(site, "list", wide=False).stdout

    assert all(len(line) <= 80 for line in shown.splitlines())
    assert site.name("deadly") in shown


@pytest.mark.parametrize("form", ["pseudonym", "key", "beginning"])
def test_a_scan_is_named_by_pseudonym_or_key(site: Any, form: str) -> None:
    site.fill()
    key = site.key("deadly")
    name = {"pseudonym": site.name("deadly"), "key": key, "beginning": key[:10]}[form]

    shown = queue(site, "show", name).stdout

    assert f"Scan {site.name('deadly')} of specimen S-" in shown
    assert "quarantined" in shown
    assert "PEL-RECORD-014" in shown
    assert "-> " in shown


def test_a_finished_scan_can_be_shown_too(site: Any) -> None:
    site.fill()

    assert json.loads(queue(site, "show", site.name("finished"), "--json").stdout)[0]["state"] == "done"


def test_show_tells_of_a_dead_owner(site: Any, dead_owner: str) -> None:
    site.begin("orphan", owner=dead_owner)

    assert "which is dead" in queue(site, "show", site.name("orphan")).stdout
    assert json.loads(queue(site, "show", site.name("orphan"), "--json").stdout)[0]["owner_dead"] is True


def test_looking_changes_nothing(site: Any) -> None:
    site.fill()
    queue(site, "list", "--all")
    before = (site.records.tasks(), len(site.records.audit_events()))

    queue(site, "list", "--all")
    queue(site, "show", site.name("deadly"))

    assert (site.records.tasks(), len(site.records.audit_events())) == before


@pytest.mark.parametrize("command", ["show", "requeue"])
@pytest.mark.parametrize("name", ["F-NOBODYXX", "deadbeefdeadbeef", "/archive/x.svs", "*"])
def test_an_unknown_scan_is_a_coded_error_and_changes_nothing(site: Any, command: str, name: str) -> None:
    site.fill()
    before = site.records.tasks()

    assert isinstance(refused(site, command, name), ScanUnknown)
    assert site.records.tasks() == before


def test_one_unknown_name_among_good_ones_changes_nothing(site: Any) -> None:
    site.fill()

    assert isinstance(refused(site, "requeue", site.name("deadly"), "F-NOBODYXX"), ScanUnknown)
    assert task_of(site, "deadly").state is TaskState.QUARANTINED


def test_records_that_are_not_there_are_not_made(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["list", "--out", str(tmp_path / "nowhere")])

    assert isinstance(done.exception, PellucidError)
    assert done.exception.code == "PEL-RECORD-001"
    assert not (tmp_path / "nowhere").exists()


def test_requeue_gives_a_quarantined_scan_back_under_the_person_s_name(site: Any) -> None:
    site.fill()

    done = queue(site, "requeue", site.name("deadly"), "--priority", 5)

    assert "1 scan is queued again; 0 left" in done.stdout
    task = task_of(site, "deadly")
    assert (task.state, task.priority, task.attempts, task.kills) == (TaskState.QUEUED, 5, 0, 0)
    assert last_event(site)["actor"].startswith("user:")


def test_requeue_leaves_what_is_done_or_worked_on(site: Any) -> None:
    site.fill()

    done = queue(site, "requeue", site.name("finished"), site.name("running"))

    assert "0 scans are queued again; 2 left as they were." in done.stdout
    assert task_of(site, "finished").state is TaskState.DONE


@pytest.mark.parametrize(("state", "word"), [("failed", "broken"), ("quarantined", "deadly"), ("backoff", "resting")])
def test_all_of_one_state_are_requeued_at_once(site: Any, state: str, word: str) -> None:
    site.fill()

    queue(site, "requeue", "--state", state)

    assert task_of(site, word).state is TaskState.QUEUED
    assert task_of(site, word).not_before is None
    others = {"failed": "broken", "quarantined": "deadly"}
    others.pop(state, None)
    assert all(task_of(site, other).state is TaskState(name) for name, other in others.items())


@pytest.mark.parametrize(
    "words", [["requeue"], ["requeue", "F-1", "--state", "failed"], ["requeue", "--state", "done"]]
)
def test_requeue_wants_scans_or_a_state_that_can_be(site: Any, words: list[str]) -> None:
    assert queue(site, *words).exit_code == 2


def test_quarantine_takes_a_scan_even_from_its_owner(site: Any) -> None:
    task = site.begin("running")

    queue(site, "quarantine", site.name("running"), "--reason", "wrong patient's block")

    assert task_of(site, "running").state is TaskState.QUARANTINED
    assert site.records.extend(task) is False
    assert "wrong patient's block" in queue(site, "list").stdout


def test_stat_goes_to_the_front_and_back(site: Any) -> None:
    for word in ("first", "second"):
        site.enqueue(word)

    queue(site, "prioritise", site.name("second"), "--stat")
    assert task_of(site, "second").priority == STAT_PRIORITY
    assert site.claim().scan_digest == site.digest("second")

    queue(site, "prioritise", site.name("first"), "--priority", -3)
    assert task_of(site, "first").priority == -3


@pytest.mark.parametrize("words", [[], ["--stat", "--priority", "3"]])
def test_prioritise_wants_one_priority(site: Any, words: list[str]) -> None:
    site.enqueue("first")

    assert queue(site, "prioritise", site.name("first"), *words).exit_code == 2


def test_a_pause_holds_until_it_is_resumed_and_says_by_whom_and_why(site: Any) -> None:
    site.enqueue("first")

    assert "The queue is paused." in queue(site, "pause", "--reason", "disk swap").stdout
    assert "paused already" in queue(site, "pause", "--reason", "again").stdout
    assert site.records.claim("host:1:x") is None
    shown = queue(site, "list").stdout
    assert "PAUSED: The queue" in shown
    assert "disk swap" in shown
    assert "user:" in shown

    assert "The queue goes on." in queue(site, "resume").stdout
    assert site.records.claim("host:1:x") is not None
    assert isinstance(refused(site, "resume"), PauseUnknown)


def test_one_lane_is_paused_by_the_beginning_of_its_name(site: Any) -> None:
    site.enqueue("mine")
    site.enqueue("theirs", lane="cd" * 32)

    queue(site, "pause", "--lane", "abab", "--reason", "new model")

    assert [one.lane for one in site.records.pauses()] == ["ab" * 32]
    assert site.claim().scan_digest == site.digest("theirs")
    assert isinstance(refused(site, "resume"), PauseUnknown)
    assert "goes on" in queue(site, "resume", "--lane", "ab").stdout


def test_a_lane_that_none_or_several_begin_with_is_refused(site: Any) -> None:
    site.enqueue("mine", lane="abc")
    site.enqueue("theirs", lane="abd")

    for beginning in ("ab", "zz"):
        assert isinstance(refused(site, "pause", "--lane", beginning, "--reason", "x"), LaneUnknown)
    assert site.records.pauses() == []


def test_several_lanes_are_told_apart(site: Any) -> None:
    site.enqueue("mine")
    site.enqueue("theirs", lane="cd" * 32)

    shown = queue(site, "list").stdout
    assert "Lane abab" in shown
    assert "Lane cdcd" in shown
    assert [task["scan"] for task in listed(site, "--lane", "cd")["tasks"]] == [site.name("theirs")]


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_repeats_until_interrupted_without_cursor_tricks(site: Any, as_json: bool) -> None:
    site.fill()
    command = ["from pellucid.cli.queue import app; app()", "list", "--out", str(site.out), "--watch"]
    child = subprocess.Popen(
        [sys.executable, "-c", *command, *(["--json"] if as_json else [])], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    seen = ""
    deadline = time.monotonic() + 60
    while seen.count(site.name("deadly")) < 2 and time.monotonic() < deadline:
        line = child.stdout.readline()
        assert line, "it ended by itself"
        seen += line
    child.send_signal(signal.SIGINT)

    assert child.wait(20) == 0
    assert seen.count(site.name("deadly")) == 2
    assert "\x1b" not in seen
    if as_json:
        assert all(json.loads(line)["tasks"] for line in seen.splitlines())


def test_a_reader_that_goes_away_ends_the_watching_quietly(site: Any) -> None:
    site.fill()
    command = ["from pellucid.cli.queue import app; app()", "list", "--out", str(site.out), "--watch", "--json"]
    child = subprocess.Popen([sys.executable, "-c", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()

    assert child.wait(20) == 0
    assert child.stderr.read() == b""
    child.stderr.close()


def test_the_settings_database_is_used_as_a_run_uses_it(site: Any, tmp_path: Path) -> None:
    site.enqueue("first")
    (tmp_path / "site.toml").write_text(f'database = "sqlite:///{site.out}/records.sqlite"\n')

    words = ["list", "--json", "--out", str(tmp_path / "elsewhere"), "--config", str(tmp_path / "site.toml")]
    done = CliRunner().invoke(app, words)

    assert len(json.loads(done.stdout)["tasks"]) == 1


def test_it_works_on_a_server(server_site: Any) -> None:
    server_site.fill()

    def on_server(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--database", server_site.address], env={"COLUMNS": "160"})

    answer = json.loads(on_server("list", "--json").stdout)
    assert answer["tasks"][1]["scan"] == server_site.name("urgent")
    on_server("pause", "--reason", "disk swap")
    on_server("requeue", server_site.name("deadly"))
    on_server("prioritise", server_site.name("routine"), "--stat")
    shown = on_server("list").stdout
    assert "PAUSED" in shown
    assert SECRET not in shown
    assert task_of(server_site, "deadly").state is TaskState.QUEUED
    assert task_of(server_site, "routine").priority == STAT_PRIORITY
