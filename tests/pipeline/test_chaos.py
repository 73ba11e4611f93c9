"""Killed at random moments, a run gives every answer once and to the bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_ten_blows_cost_no_answer_and_leave_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--kills", "10", "--scans", "16", "--seed", "28", "--json"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["n_blows"] >= 8
    assert {"reader", "device", "posterior", "supervisor"} == {blow.split()[0] for blow in result["blows"]}
    assert result["starts"] > 1
    assert result["states"].keys() == {"done", "failed"}
