"""How many accelerators the encoder's processes will find, guessed without torch, which the supervisor never loads."""

import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import Path

_DEVICE = re.compile(r"nvidia\d+")
_BUILT_FOR = re.compile(r"^cuda\b[^=\n]*=\s*['\"]\d", re.MULTILINE)
_DEV = Path("/dev")


def count_accelerators(
    *, environ: Mapping[str, str] = os.environ, dev: Path = _DEV, torch_folder: Path | None = None
) -> int:
    """Accelerators that are here, that this process may use, and that the installed torch was built for.

    Args:
        environ: the environment, for `CUDA_VISIBLE_DEVICES`.
        dev: where devices are.
        torch_folder: where torch is installed; found where omitted.
    """
    present = sum(_DEVICE.fullmatch(path.name) is not None for path in dev.iterdir()) if dev.is_dir() else 0
    if not present or not _torch_has_cuda(torch_folder or _torch_folder()):
        return 0
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    return present if visible is None else min(present, _listed(visible))


def _listed(visible: str) -> int:
    """Devices that the variable lists: those before the first that is none, as CUDA reads it."""
    count = 0
    for name in visible.split(","):
        if not name.strip() or name.strip() == "-1":
            break
        count += 1
    return count


def _torch_folder() -> Path | None:
    found = importlib.util.find_spec("torch")
    return None if found is None or found.origin is None else Path(found.origin).parent


def _torch_has_cuda(folder: Path | None) -> bool:
    if folder is None:
        return False
    try:
        return _BUILT_FOR.search((folder / "version.py").read_text()) is not None
    except OSError:
        return False
