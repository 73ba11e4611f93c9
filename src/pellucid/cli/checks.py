"""What `pellucid doctor` looks at."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_SUPPORTED = ((3, 11), (3, 13))
_ROOM_BYTES = 5 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at; `required` things make the doctor fail."""

    name: str
    ok: bool
    required: bool
    found: str
    remedy: str

    def as_plain(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


def check_machine() -> list[Check]:
    """Everything `pellucid` needs or can use, in the order a person would mend it."""
    return [
        _python(),
        *(_package(name, required=True) for name in ("torch", "numpy", "opencv-python-headless", "sqlalchemy")),
        _openslide(),
        _cores(),
        _accelerator(),
        _disk(),
        _package("timm", required=False, remedy="pip install 'pellucid[foundation]' for foundation encoders."),
        _program("promtool", "Debian package `prometheus`: only to test alert rules."),
        _program("chromium", "Debian package `chromium`: only to test the pages."),
    ]


def _python() -> Check:
    low, high = _SUPPORTED
    return Check(
        name="Python",
        ok=low <= sys.version_info[:2] <= high,
        required=True,
        found=f"{platform.python_version()} on {platform.platform()}",
        remedy="Use Python 3.11, 3.12 or 3.13.",
    )


def _package(name: str, *, required: bool, remedy: str = "Install Pellucid again: `pip install pellucid`.") -> Check:
    try:
        found, ok = importlib.metadata.version(name), True
    except importlib.metadata.PackageNotFoundError:
        found, ok = "not installed", False
    return Check(name=name, ok=ok, required=required, found=found, remedy=remedy)


def _openslide() -> Check:
    remedy = "Install Pellucid again: `pip install pellucid` brings OpenSlide's library too."
    try:
        import openslide
    except (ImportError, OSError) as error:
        return Check(name="OpenSlide", ok=False, required=True, found=str(error), remedy=remedy)
    return Check(name="OpenSlide", ok=True, required=True, found=openslide.__library_version__, remedy=remedy)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(name="cores", ok=True, required=False, found=str(cores), remedy="")


def _accelerator() -> Check:
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    return Check(
        name="accelerator",
        ok=bool(devices),
        required=False,
        found=f"{len(devices)} NVIDIA device(s)" if devices else "none, the CPU is used",
        remedy="None is needed for the demo; a foundation encoder wants one.",
    )


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    return Check(
        name="free disk here",
        ok=free >= _ROOM_BYTES,
        required=False,
        found=f"{free / 2**30:.0f} GiB",
        remedy="Results, pictures and kept bags need room: about 40 MB a slide with a foundation encoder.",
    )


def _program(name: str, remedy: str, which: Callable[[str], str | None] = shutil.which) -> Check:
    path = which(name)
    return Check(name=name, ok=path is not None, required=False, found=path or "not found", remedy=remedy)
