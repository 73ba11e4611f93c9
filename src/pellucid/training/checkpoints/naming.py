"""What the folders of a task's checkpoints are called.

`step-00000120` is committed. Beside it may lie `.tmp-step-00000120.7` (being written under the lock's token 7),
`.old-step-00000120.7` (in the moment in which a step's checkpoint is replaced), `.trash-*` (being deleted) and
`rejected-step-00000120.7` (found damaged when the holder of token 7 loaded).
"""

import re
from pathlib import Path
from typing import Final

STEP: Final = re.compile(r"step-(\d{8,})")
OLD: Final = re.compile(r"\.old-(step-\d{8,})\.\d+")
TMP, TRASH, REJECTED = ".tmp-", ".trash-", "rejected-"


def step_name(step: int) -> str:
    """The name of a committed checkpoint."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """The step that a committed checkpoint's name tells; None where it is no such name."""
    found = STEP.fullmatch(name)
    return int(found[1]) if found else None


def tmp_path(folder: Path, step: int, token: int) -> Path:
    """Where a checkpoint is written."""
    return folder / f"{TMP}{step_name(step)}.{token}"


def old_path(folder: Path, step: int, token: int) -> Path:
    """Where a checkpoint waits while another of its step takes its place."""
    return folder / f".old-{step_name(step)}.{token}"


def rejected_path(folder: Path, step: int, token: int) -> Path:
    """Where a damaged checkpoint is kept aside; a free name."""
    path = folder / f"{REJECTED}{step_name(step)}.{token}"
    nth = 1
    while path.exists():
        nth += 1
        path = path.with_name(f"{REJECTED}{step_name(step)}.{token}-{nth}")
    return path
