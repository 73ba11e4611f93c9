"""`pellucid trace`, as somebody reads it who wants to know where a scan's time went."""

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pellucid.cli.errors import TraceMissing
from pellucid.cli.trace import trace, waterfall
from pellucid.core.telemetry.trace import Trace

START = 1_700_000_000.0
KEY = "ab12" * 16

app = typer.Typer()
app.command("trace")(trace)


def made() -> Trace:
    found = Trace("F-7K3QW9TD", run_id="run-1")
    found.add("prepare", "reader 1", start=START, duration=2.0)
    found.merge("read", "reader 1", start=START + 2, duration=1.0, count=100)
    found.merge("read", "reader 2", start=START + 2, duration=1.0, count=300)
    found.add("passes", "posterior 0", start=START + 3, duration=1.0)
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made().write(tmp_path / "scans" / "F-7K3QW9TD" / KEY[:12] / "trace.json")
    return tmp_path


@pytest.mark.parametrize("name", ["F-7K3QW9TD", KEY, KEY[:12]])
def test_a_scan_is_found_by_pseudonym_or_key(out: Path, name: str) -> None:
    done = CliRunner().invoke(app, [name, "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert "Scan F-7K3QW9TD, run run-1: 4.00 s in 4 spans" in done.stdout
    assert "400 items, 200/s" in done.stdout


def test_json_is_the_file(out: Path) -> None:
    done = CliRunner().invoke(app, ["F-7K3QW9TD", "--out", str(out), "--json"])

    assert json.loads(done.stdout)["otherData"]["scan"] == "F-7K3QW9TD"


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_bars_lie_where_their_time_was_and_lines_fit(width: int) -> None:
    lines = waterfall(made(), width=width)
    bars = [line for line in lines if "#" in line]

    assert len(bars) == 4
    assert all(len(line) <= max(width, 60) for line in bars)
    starts = [line.index("#") for line in bars]
    assert starts == sorted(starts)
    assert bars[0].count("#") == pytest.approx(bars[3].count("#") * 2, abs=1)


def test_of_several_attempts_the_latest_is_shown(out: Path) -> None:
    later = out / "scans" / "F-7K3QW9TD" / "cd12" / "trace.json"
    Trace("F-7K3QW9TD", run_id="run-2").write(later)
    os.utime(later, (2e9, 2e9))

    done = CliRunner().invoke(app, ["F-7K3QW9TD", "--out", str(out)])

    assert "no step was recorded" in done.stdout


@pytest.mark.parametrize("name", ["F-NOBODYXX", "../../etc", "*", "F-7K3QW9TD/.."])
def test_an_unknown_scan_or_an_odd_name_is_a_coded_error(out: Path, name: str) -> None:
    done = CliRunner().invoke(app, [name, "--out", str(out)])

    assert isinstance(done.exception, TraceMissing)


def test_a_damaged_trace_is_a_coded_error(out: Path) -> None:
    (out / "scans" / "F-7K3QW9TD" / KEY[:12] / "trace.json").write_text("{")

    done = CliRunner().invoke(app, ["F-7K3QW9TD", "--out", str(out)])

    assert isinstance(done.exception, TraceMissing)
