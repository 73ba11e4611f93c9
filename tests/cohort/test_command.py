import json
import shutil

import pytest
from typer.testing import CliRunner

from pellucid.cli.cohort import app
from pellucid.cohort import CohortInvalid, read_cohort, read_truth

run = CliRunner().invoke


def test_check_says_what_a_table_holds(synthetic_folder):
    result = run(app, ["check", str(synthetic_folder / "cohort.csv")])
    assert result.exit_code == 0
    assert "SYNTHETIC" in result.output


def test_check_as_json_names_absent_scans_and_fails(table):
    result = run(app, ["check", "--json", str(table("case,specimen,path", "C,S,nowhere.svs"))])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["missing"][0]["row"] == 2


def test_check_raises_the_coded_error_of_a_bad_table(table):
    result = run(app, ["check", str(table("case,specimen", "C,S"))])
    assert isinstance(result.exception, CohortInvalid)


def test_split_writes_a_table_with_every_patient_in_one_split(table, tmp_path):
    source = table("case,specimen,path,label", *(f"C{n},S{n},{n}.svs,{n % 2}" for n in range(20)))
    out = tmp_path / "out.csv"
    result = run(app, ["split", str(source), "-o", str(out), "--fractions", "training=0.5,test=0.5", "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert {entry.split.value for entry in read_cohort(out).entries} == {"training", "test"}


@pytest.mark.parametrize("shares", ["training", "training=x", "holdout=1", ""])
def test_split_refuses_shares_it_cannot_read(table, tmp_path, shares):
    source = table("case,specimen,path", "C,S,a.svs")
    result = run(app, ["split", str(source), "-o", str(tmp_path / "o.csv"), "--fractions", shares])
    assert result.exception is not None
    assert getattr(result.exception, "code", "") == "PEL-COHORT-002"


def test_synthesise_makes_a_cohort(tmp_path):
    folder = tmp_path / "made"
    arguments = ["synthesise", str(folder), "--scale", "0.05", "--slide-px", "1024", "--workers", "1"]
    result = run(app, arguments)
    assert result.exit_code == 0, result.output
    assert read_cohort(folder / "cohort.csv").synthetic
    assert len({truth.kind for truth in read_truth(folder).values()}) == 12
    shutil.rmtree(folder)
