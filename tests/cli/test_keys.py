"""`pellucid keys` on real key files."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pellucid.bundle import KeyExists, KeyMissing, SigningKey
from pellucid.cli.keys import app


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_generate_writes_a_pair_and_says_which(tmp_path: Path) -> None:
    output = _run("generate", tmp_path / "site")
    key = SigningKey.load(tmp_path / "site")
    assert key.key_id in output
    assert str(tmp_path / "site.pub") in output


def test_generate_prints_json_where_asked_and_never_the_secret(tmp_path: Path) -> None:
    output = _run("generate", tmp_path / "site", "--json")
    key = SigningKey.load(tmp_path / "site")
    private, public = str(tmp_path / "site"), str(tmp_path / "site.pub")
    assert json.loads(output) == {"key_id": key.key_id, "private": private, "public": public}
    assert (tmp_path / "site").read_text().splitlines()[1] not in output


def test_generate_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("precious")
    with pytest.raises(KeyExists):
        _run("generate", tmp_path / "site")


def test_show_names_the_same_key_for_both_halves(tmp_path: Path) -> None:
    made = json.loads(_run("generate", tmp_path / "site", "--json"))
    for path in ("site", "site.pub", "."):
        assert json.loads(_run("show", tmp_path / path, "--json"))[0]["key_id"] == made["key_id"]
    assert _run("show", tmp_path / "site.pub") == f"{made['key_id']}  site\n"


def test_show_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing):
        _run("show", tmp_path / "absent")
