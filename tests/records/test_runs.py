import math
import subprocess
import sys

import pytest

from pellucid.records import RunState, RunUnknown, ValueUnrecordable

STARTER = """
import sys
from pellucid.domain.decision import Versions
from pellucid.records import open_records
versions = Versions(model="m", policy="p", software="s", software_version="1")
with open_records(sys.argv[1]) as records:
    records.start_run(run_id="killed", purpose="score", versions=versions, settings={}, command="")
"""


def test_run_comes_back_as_recorded(ward):
    (run,) = ward.records.runs()
    assert (run.run_id, run.purpose, run.state, run.versions) == ("run-1", "score", RunState.RUNNING, ward.versions)
    assert (run.settings, run.command, run.finished_at, run.summary) == ({"seed": 7}, "pellucid run t.csv", None, None)
    ward.records.finish_run("run-1", "completed", {"specimens": 3})
    (run,) = ward.records.runs()
    assert (run.state, run.summary) == (RunState.COMPLETED, {"specimens": 3})
    assert run.finished_at >= run.started_at
    assert ward.records.verify_audit().ok


def test_identifier_is_used_once_and_a_finished_run_stays(ward):
    with pytest.raises(RunUnknown):
        ward.start_run()
    ward.records.finish_run("run-1", "failed", {})
    with pytest.raises(RunUnknown):
        ward.records.finish_run("run-1", "completed", {})
    with pytest.raises(RunUnknown):
        ward.records.finish_run("ghost", "completed", {})
    assert ward.records.runs()[0].state is RunState.FAILED


def test_run_of_a_dead_process_is_recorded_as_interrupted_by_the_next(ward):
    subprocess.run([sys.executable, "-c", STARTER, ward.address], check=True)
    ward.start_run("run-2")
    states = {run.run_id: run.state for run in ward.records.runs()}
    assert states == {"run-1": "running", "killed": "interrupted", "run-2": "running"}
    assert ward.records.verify_audit().ok


def test_settings_that_are_no_json_are_refused(ward):
    with pytest.raises(ValueUnrecordable, match="settings"):
        ward.records.start_run(
            run_id="r", purpose="score", versions=ward.versions, settings={"limit": math.nan}, command=""
        )
    assert len(ward.records.runs()) == 1
