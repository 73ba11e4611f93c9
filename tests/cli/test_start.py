"""What a command costs before it works: imports are measured by what they bring in, not by time."""

import subprocess
import sys
from pathlib import Path

import pytest

TORCH_FREE_ROOMS = (
    "pellucid",
    "pellucid.core.settings",
    "pellucid.slides",
    "pellucid.statistics.posterior",
    "pellucid.records",
    "pellucid.records.records",
    "pellucid.cohort",
    "pellucid.triage",
    "pellucid.bundle",
    "pellucid.monitoring",
    "pellucid.reports",
    "pellucid.reports.publish",
    "pellucid.exports",
    "pellucid.pipeline.run",
    "pellucid.pipeline.explanation",
    "pellucid.cli.main",
)
HEAVY = ("torch", "scipy", "sqlalchemy", "cv2", "openslide", "pyarrow", "numpy", "pydantic")


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of `names` a fresh interpreter has imported after `code`."""
    script = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("room", TORCH_FREE_ROOMS)
def test_importing_a_torch_free_room_does_not_import_torch(room: str) -> None:
    assert loaded_after(f"import {room}", ("torch",)) == []


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    assert loaded_after("import pellucid.cli.main", HEAVY) == []


def test_help_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pellucid", "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "200"}
    )
    for command in (
        "demo",
        "init",
        "run",
        "explain",
        "identify",
        "doctor",
        "slide",
        "cohort",
        "bundle",
        "keys",
        "monitor",
        "audit",
    ):
        assert command in done.stdout
    assert "Research use only" in done.stdout


def test_the_version_is_the_package_s() -> None:
    from pellucid import __version__

    done = subprocess.run([sys.executable, "-m", "pellucid", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"pellucid {__version__}"


def test_the_python_surface_is_small_documented_and_whole() -> None:
    import pellucid

    assert len(pellucid.__all__) <= 12
    for name in pellucid.__all__:
        value = getattr(pellucid, name)
        assert isinstance(value, str) or value.__doc__, name


def test_an_error_of_the_system_is_a_coded_sentence_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pellucid.cli.main import app, main\n"
        f"@app.command('fail')\ndef fail(): raise OSError(5, 'Input/output error', {str(tmp_path)!r})\n"
        "sys.argv = ['pellucid', 'fail']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "PEL-CORE-006" in done.stderr
    assert "Input/output error" in done.stderr
    assert "Traceback" not in done.stderr
