import json

import pytest
from typer.testing import CliRunner

from pellucid.cli.audit import app
from pellucid.records import HeadMalformed, RecordsUnavailable


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_verify_prints_the_head_and_what_it_cannot_tell(file_ward):
    file_ward.answer("S1")
    for source in (("--db", file_ward.path), ("--db", f"sqlite:///{file_ward.path}"), ("--out", file_ward.path.parent)):
        result = invoke("verify", *source)
        assert result.exit_code == 0
        assert str(file_ward.records.audit_head()) in result.output
        assert "does not show that the last events were cut off" in " ".join(result.output.split())


def test_verify_ends_with_1_and_names_the_first_broken_event(file_ward):
    file_ward.answer("S1", "S2")
    file_ward.sql(
        "UPDATE decision SET verdict = 'negative' WHERE id = 2", "UPDATE scan_result SET n_tiles = 9 WHERE id = 1"
    )
    result = invoke("verify", "--db", file_ward.path)
    assert result.exit_code == 1
    broken = next(line for line in result.output.splitlines() if line.startswith("BROKEN"))
    assert "row 1 of scan_result" in broken
    assert "also: " in result.output
    report = json.loads(invoke("verify", "--db", file_ward.path, "--json").output)
    assert report["ok"] is False
    assert [problem["kind"] for problem in report["problems"]] == ["row_edited", "row_edited"]


def test_verify_holds_the_trail_against_a_noted_head(file_ward):
    noted = file_ward.records.audit_head()
    file_ward.answer("S1")
    assert invoke("verify", "--db", file_ward.path, "--expect-head", noted).exit_code == 0
    beyond = f"{file_ward.records.audit_head().seq + 1}:{noted.leaf}"
    result = invoke("verify", "--db", file_ward.path, "--expect-head", beyond)
    assert result.exit_code == 1
    assert "cut off" in result.output
    with pytest.raises(HeadMalformed):
        invoke("verify", "--db", file_ward.path, "--expect-head", "latest")


def test_verify_changes_nothing(file_ward):
    head = file_ward.records.audit_head()
    invoke("verify", "--db", file_ward.path)
    assert file_ward.records.audit_head() == head


def test_export_copies_the_trail_and_is_recorded(file_ward, tmp_path):
    result = invoke("export", "--db", file_ward.path, "--to", tmp_path / "copy", "--json")
    assert json.loads(result.output)["seq"] == file_ward.records.audit_head().seq
    assert (tmp_path / "copy" / "audit.jsonl").is_file()
    assert file_ward.records.audit_events()[-1].content["action"] == "export"
    assert str(file_ward.records.audit_head()) in invoke("verify", "--db", file_ward.path).output


def test_missing_records_and_ambiguous_sources_are_said(tmp_path):
    with pytest.raises(RecordsUnavailable):
        invoke("verify", "--db", tmp_path / "typo.sqlite")
    assert invoke("verify").exit_code == 2
    assert invoke("verify", "--db", "a", "--out", "b").exit_code == 2
