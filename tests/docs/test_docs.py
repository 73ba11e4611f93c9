"""Documents that must stay true: the error list, links, and the commands that the README names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_error_list_is_current() -> None:
    done = subprocess.run([sys.executable, "-m", "pellucid", "errors"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "errors.md").read_text() == done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_that_the_readme_names_exists() -> None:
    commands = set(
        re.findall(
            r"pellucid ((?:slide|cohort|bundle|keys|audit|monitor|queue|bag|policy) \w+|\w+)",
            (ROOT / "README.md").read_text(),
        )
    )
    known = {
        "demo",
        "init",
        "run",
        "worker",
        "status",
        "trace",
        "plan",
        "explain",
        "identify",
        "doctor",
        "errors",
        "train",
        "certify",
        "evaluate",
    }
    for command in sorted(commands - {"import"}):
        words = command.split()
        if len(words) == 1 and words[0] not in known:
            continue
        done = subprocess.run([sys.executable, "-m", "pellucid", *words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
