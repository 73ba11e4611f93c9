"""The operations page: its commands exist with their options, and it explains every alarm."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from pellucid.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
ALARMS = re.findall(r"- alert: (\w+)", (ROOT / "deploy" / "prometheus" / "pellucid.rules.yml").read_text())
COMMANDS = sorted(set(re.findall(r"`(pellucid [^`]+)`", PAGE) + re.findall(r"^(pellucid .+?)(?: +#.*)?$", PAGE, re.M)))


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line: str) -> None:
    command = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("alarm", ALARMS)
def test_every_alarm_is_explained(alarm: str) -> None:
    assert f"| `{alarm}` |" in PAGE


def test_no_alarm_is_explained_that_does_not_exist() -> None:
    assert set(re.findall(r"\| `(Pellucid\w+)` \|", PAGE)) == set(ALARMS)
