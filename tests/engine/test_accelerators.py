"""The supervisor finds accelerators that the device processes can use, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.engine.accelerators import count_accelerators
from pellucid.pipeline.models import device_names


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A machine with two accelerators."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (folder / name).touch()
    return folder


def torch_for(tmp_path: Path, cuda: str) -> Path:
    """An installed torch, as its version file describes it."""
    folder = tmp_path / "torch"
    folder.mkdir(exist_ok=True)
    (folder / "version.py").write_text(
        f"from typing import Optional\n__version__ = '2.9.0'\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
    )
    return folder


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, 2), ("0", 1), ("0,1", 2), ("", 0), ("-1", 0), ("1,-1,0", 1), ("0,1,2", 2)]
)
def test_devices_that_this_process_may_use_are_counted(
    dev: Path, tmp_path: Path, visible: str | None, expected: int
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert count_accelerators(environ=environ, dev=dev, torch_folder=torch_for(tmp_path, "'13.0'")) == expected


def test_a_torch_that_was_built_without_them_finds_none(dev: Path, tmp_path: Path) -> None:
    assert count_accelerators(environ={}, dev=dev, torch_folder=torch_for(tmp_path, "None")) == 0
    assert count_accelerators(environ={}, dev=dev, torch_folder=tmp_path / "nowhere") == 0


def test_a_machine_without_any_has_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert count_accelerators(environ={}, dev=tmp_path / "empty", torch_folder=torch_for(tmp_path, "'13.0'")) == 0


def test_the_installed_torch_is_read_as_it_describes_itself() -> None:
    """What the guess says must be what torch says, wherever this runs; and the guess doesn't load it."""
    code = (
        "import sys; from pellucid.engine.accelerators import count_accelerators\n"
        "guess = count_accelerators(); assert 'torch' not in sys.modules\n"
        "import torch; print(guess, torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    )
    guess, true = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert guess == true


def test_the_cpu_is_named_where_there_is_nothing_else_or_it_was_asked_for() -> None:
    assert device_names("cpu", 2) == ("cpu", "cpu")
    if not count_accelerators():
        assert device_names("auto", 1) == ("cpu",)
        assert device_names("cuda", 2) == ("cuda:0",)  # whose process refuses it in so many words
