"""`pellucid plan` answers in JSON and in tables, from options and from a run's own records."""

import json

import pytest
import typer
from typer.testing import CliRunner

from pellucid.cli.plan import plan
from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.planning.errors import NothingMeasured
from pellucid.records import DATABASE_NAME, NewTask, RecordsUnavailable, open_records, process_owner

APP = typer.Typer()
APP.command()(plan)


def call(*arguments, code=0):
    done = CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "120"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def answer(*arguments):
    return json.loads(call(*arguments, "--json").stdout)


QUICK = ("--slides-per-day", 300, "--replicates", 3)


def test_a_plan_as_json():
    said = answer(*QUICK, "--tiles-per-s", 60, "--gpus", 1, "--p95-h", 1)
    assert said["asked"]["n_gpus"] == 1
    assert said["asked"]["backlog_grows"] is False
    assert said["asked"]["routine_p95_s"]["mean"] > 3600
    assert said["smallest"]["n_gpus"] > 1
    assert said["smallest"]["routine_p95_s"]["high"] <= 3600
    assert said["figures"]["tiles_per_s"] == {"value": 60.0, "unit": "tiles/s", "source": "given", "note": "an option"}
    assert said["figures"]["mb_per_slide"]["source"] == "assumed"
    assert any("Nothing is kept in reserve" in sentence for sentence in said["assumptions"])


def test_a_plan_as_tables():
    shown = " ".join(call(*QUICK, "--profile", "unload", "--rack", 40, "--failures-per-week", 1).stdout.split())
    assert "1 accelerator for 95% of routine slides in 4 h and 95% of STAT slides in 10 min." in shown
    assert "computed, not measured" in shown
    assert "40 at once" in shown
    assert "lost every 7.0 days" in shown


def test_what_cannot_be_met_is_said():
    shown = " ".join(call(*QUICK, "--stat-p95-min", 0.05, "--most", 2).stdout.split())
    assert "No number of accelerators" in shown
    assert "waits for nothing" in shown


def test_wrong_options_are_refused():
    assert "--profile" in call(*QUICK, "--profile", "monthly", code=2).output
    call("--slides-per-day", 0, code=2)


def test_the_same_seed_gives_the_same_plan():
    assert answer(*QUICK, "--seed", 4) == answer(*QUICK, "--seed", 4)
    assert answer(*QUICK, "--seed", 4) != answer(*QUICK, "--seed", 5)


def record(out, observations):
    """Put observations into real records, as a run does."""
    versions = Versions(model="m" * 64, policy="p" * 64, software="s" * 64, software_version="0.1.0")
    with open_records(out / DATABASE_NAME) as records:
        records.start_run(run_id="r", purpose="score", versions=versions, settings={}, command="pellucid run")
        for one in observations:
            records.register_specimen(one.specimen, f"C-{one.specimen}", f"P-{one.specimen}", [one.scan], {})
            records.enqueue([NewTask(key=one.scan, kind="scan", specimen=one.specimen)], run_id="r")
            task = records.claim(process_owner())
            if one.error is None:
                records.complete(task, observation=one)
            else:
                records.fail(task, code=one.error, message="empty", observation=one)


def observation(number, n_tiles, *, error=None, **timings):
    return Observation(
        scan=f"{number:064x}", specimen=f"S{number}", run="r", at="2026-11-23T10:00:00.000Z", purpose="score",
        scanner=None, strata={}, mpp=0.5, mpp_source="file", n_tiles=n_tiles, features={}, embedding=(), distance=None,
        mean_logit=None, sd_logit=None, probability=None, mutual_information=None, reasons=(), error=error,
        timings=timings, model="m" * 64, policy="p" * 64, software="s" * 64,
    )  # fmt: skip


def test_a_run_gives_tiles_per_slide_and_rates(tmp_path):
    record(
        tmp_path,
        [
            observation(1, 500, encode=5.0, read=1.0, passes=2.0),
            observation(2, 1500, encode=15.0, read=3.0, passes=4.0),
            observation(3, 77, error="PEL-SLIDE-001", encode=900.0),
        ],
    )
    said = answer(*QUICK, "--from-run", tmp_path, "--read-core-ms", 7)
    figures = said["figures"]
    assert (figures["tiles_per_s"]["value"], figures["tiles_per_s"]["source"]) == (100.0, "measured")
    assert (figures["read_core_s"]["value"], figures["read_core_s"]["source"]) == (0.007, "given")
    assert figures["after_s"]["value"] == 3.0
    assert any("drawn from 2 scans of the run, 1,000 on average" in sentence for sentence in said["assumptions"])


def test_a_run_without_answers_gives_no_figures(tmp_path):
    record(tmp_path, [observation(3, 77, error="PEL-SLIDE-001")])
    with pytest.raises(NothingMeasured):
        call(*QUICK, "--from-run", tmp_path)


def test_a_folder_without_records_is_refused_and_stays_empty(tmp_path):
    with pytest.raises(RecordsUnavailable):
        call(*QUICK, "--from-run", tmp_path)
    assert list(tmp_path.iterdir()) == []
