"""Which checkpoints there are and which of them are whole; without torch, so that a status costs no seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pellucid.training.checkpoints.errors import CheckpointDamaged
from pellucid.training.checkpoints.hashing import digest_files
from pellucid.training.checkpoints.manifest import Manifest, read_manifest
from pellucid.training.checkpoints.naming import REJECTED, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A checkpoint and what is wrong with it; `problem` is None where it is whole, `manifest` None where unreadable."""

    step: int
    folder: Path
    manifest: Manifest | None
    problem: str | None

    @property
    def is_valid(self) -> bool:
        """Whether it may be loaded."""
        return self.problem is None

    @property
    def created(self) -> datetime | None:
        """When it was written, where the manifest tells."""
        return None if self.manifest is None else datetime.fromisoformat(self.manifest.created)


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Step and folder of every committed checkpoint of a task, newest first; none where the folder isn't there.

    Raises:
        OSError: the folder can't be read.
    """
    try:
        found = [(step_of(path.name), path) for path in folder.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(((step, path) for step, path in found if step is not None), reverse=True)


def list_rejected(folder: Path) -> list[Path]:
    """The checkpoints of a task that were found damaged and kept aside, oldest rejection first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.startswith(REJECTED)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def verify(folder: Path, *, hashes: bool = True) -> Verdict:
    """Whether a committed checkpoint is what was written: its manifest, and size and SHA-256 of every file.

    Nothing is unpickled. Without `hashes` only the sizes are compared, which takes no time and finds no flipped bit.
    """
    step = step_of(folder.name)
    manifest = None
    try:
        manifest = read_manifest(folder)
        problem = _problem(folder, manifest, hashes=hashes) if manifest.step == step else "it was renamed"
    except CheckpointDamaged as error:
        problem = error.message
    except OSError as error:
        problem = f"it can't be read: {error.strerror or error}"
    return Verdict(step=-1 if step is None else step, folder=folder, manifest=manifest, problem=problem)


def _problem(folder: Path, manifest: Manifest, *, hashes: bool) -> str | None:
    for name, (_, size) in manifest.files.items():
        try:
            found = (folder / name).stat().st_size
        except FileNotFoundError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes, not {size}"
    if not hashes:
        return None
    for name, (digest, _) in digest_files(folder, manifest.files).items():
        if digest != manifest.files[name][0]:
            return f"{name} was changed: its SHA-256 differs"
    return None


def verdicts(folder: Path, *, hashes: bool = True) -> Iterator[Verdict]:
    """Every committed checkpoint of a task, newest first, each looked at when it is asked for.

    One that a training removes meanwhile is left out.
    """
    for _, path in list_checkpoints(folder):
        verdict = verify(path, hashes=hashes)
        if verdict.is_valid or path.is_dir():
            yield verdict


def newest_valid(folder: Path, *, hashes: bool = True) -> Verdict | None:
    """The newest whole checkpoint of a task: what a kill would be followed by. None where there is none."""
    return next((verdict for verdict in verdicts(folder, hashes=hashes) if verdict.is_valid), None)


def task_folders(checkpoints: Path) -> dict[str, Path]:
    """The folder of each task in a run's `checkpoints`, by the task's name."""
    if not checkpoints.is_dir():
        return {}
    return {path.name: path for path in sorted(checkpoints.iterdir()) if path.is_dir()}
