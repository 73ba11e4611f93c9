"""From a folder that is being written to a committed checkpoint, and from there to none: each a rename.

A kill at any moment leaves committed folders that are whole, and folders of other names that `sweep` clears away. What
is deleted is renamed first, so that a kill while deleting leaves no checkpoint with half its files.

A writer that lost its lock can't commit: whoever took over sweeps the folders that were being written before it loads,
so the old writer's rename finds nothing; one that begins after that sweep sees the newer lock when it confirms its own.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from pellucid.core.files import sync_path
from pellucid.training.checkpoints.errors import CheckpointDamaged
from pellucid.training.checkpoints.manifest import Manifest, read_manifest, write_manifest
from pellucid.training.checkpoints.naming import OLD, TMP, TRASH, old_path, rejected_path, step_name, tmp_path
from pellucid.training.checkpoints.reading import list_checkpoints, list_rejected
from pellucid.training.checkpoints.retention import Kept, Retention, steps_kept

Trace = Callable[[str], None]
_REJECTED_KEPT = 2


def sweep(folder: Path) -> None:
    """Clear away what dead writers left; call it under a lock just taken, before loading and before the first save.

    Raises:
        OSError: the folder can't be changed.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        replaced = OLD.fullmatch(path.name)
        if replaced and not (folder / replaced[1]).exists():
            path.rename(folder / replaced[1])
        elif replaced or path.name.startswith(TMP):
            remove(path)
        elif path.name.startswith(TRASH):
            shutil.rmtree(path, ignore_errors=True)


def remove(path: Path) -> None:
    """Delete a folder; in name at once, in fact soon.

    Raises:
        OSError: it can't be renamed.
    """
    trash = path.with_name(f"{TRASH}{path.name.lstrip('.')}")
    shutil.rmtree(trash, ignore_errors=True)
    path.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def begin(folder: Path, step: int, token: int) -> Path:
    """An empty folder to write a checkpoint into.

    Raises:
        OSError: it can't be made.
    """
    tmp = tmp_path(folder, step, token)
    if tmp.exists():
        remove(tmp)
    folder.mkdir(parents=True, exist_ok=True)
    tmp.mkdir()
    return tmp


def publish(tmp: Path, manifest: Manifest, *, confirm: Callable[[], None], trace: Trace) -> Path:
    """Commit what was written: manifest, fsync, rename, fsync of the parent.

    A checkpoint of the same step, such as one that was loaded and is saved again, is replaced; it can be had back by
    `sweep` at any moment until the new one is in its place.

    Args:
        tmp: the folder with all files, fsynced, but the manifest.
        manifest: what it holds.
        confirm: raises where this writer may no longer commit; called at the last moment.
        trace: told of `manifest`, `rename` and `renamed`, each as it begins.

    Raises:
        RunLockLost: of `confirm`.
        OSError: the disk is full or failed.
    """
    folder, target = tmp.parent, tmp.parent / step_name(manifest.step)
    trace("manifest")
    write_manifest(tmp, manifest)
    sync_path(tmp)
    trace("rename")
    confirm()
    old = None
    if target.exists():
        old = old_path(folder, manifest.step, manifest.token)
        target.rename(old)
        trace("replace")
    try:
        tmp.rename(target)
    except OSError:
        if old is not None:
            # whoever took over may have brought it back already
            with contextlib.suppress(OSError):
                old.rename(target)
        confirm()
        raise
    trace("renamed")
    sync_path(folder)
    if old is not None:
        remove(old)
    return target


def prune(folder: Path, retention: Retention) -> None:
    """Remove the committed checkpoints that needn't stay, and all but the last two rejected ones.

    One whose manifest can't be read counts for nothing and is left alone: loading decides about it.

    Raises:
        OSError: one can't be removed.
    """
    found = {}
    for step, path in list_checkpoints(folder):
        try:
            manifest = read_manifest(path)
        except CheckpointDamaged:
            continue
        found[path] = Kept(step=step, number=manifest.number, score=manifest.score)
    kept = steps_kept(found.values(), retention)
    for path, one in found.items():
        if one.step not in kept:
            remove(path)
    for path in list_rejected(folder)[:-_REJECTED_KEPT]:
        remove(path)


def set_aside(checkpoint: Path, step: int, token: int) -> Path:
    """Give a damaged checkpoint a name under which it isn't loaded; nothing of it is deleted.

    Raises:
        OSError: it can't be renamed.
    """
    return checkpoint.rename(rejected_path(checkpoint.parent, step, token))
