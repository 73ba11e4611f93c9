"""Which checkpoint a training goes on from."""

from dataclasses import dataclass
from pathlib import Path

from pellucid.training.checkpoints.errors import CheckpointDamaged, CheckpointForeign, CheckpointsInvalid
from pellucid.training.checkpoints.manifest import Manifest, RunIdentity, read_manifest
from pellucid.training.checkpoints.reading import Verdict, list_checkpoints, list_rejected, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The checkpoint to load, those that were looked at before and are not whole, and what differs and was forced."""

    folder: Path
    manifest: Manifest
    rejected: tuple[Verdict, ...]
    forced: tuple[str, ...]


def choose(folder: Path, identity: RunIdentity, *, force: bool, best: bool) -> Choice | None:
    """The newest whole checkpoint, or the whole one of the highest score; None where there never was any.

    Raises:
        CheckpointsInvalid: there are some, and none is whole (or none has a score).
        CheckpointForeign: it is of another config, software or cohort, and that isn't forced.
        OSError: the folder can't be read.
    """
    candidates = _by_score(folder) if best else [path for _, path in list_checkpoints(folder)]
    rejected: list[Verdict] = []
    for path in candidates:
        verdict = verify(path)
        if verdict.manifest is not None and verdict.is_valid:
            forced = _differences(verdict.manifest, identity, force=force)
            return Choice(folder=path, manifest=verdict.manifest, rejected=tuple(rejected), forced=forced)
        rejected.append(verdict)
    if not (list_checkpoints(folder) or list_rejected(folder)):
        return None
    raise CheckpointsInvalid(_sentence(folder, rejected, best=best))


def _by_score(folder: Path) -> list[Path]:
    found: list[tuple[float, int, Path]] = []
    for step, path in list_checkpoints(folder):
        try:
            score = read_manifest(path).score
        except (CheckpointDamaged, OSError):
            continue
        if score is not None:
            found.append((score, step, path))
    return [path for _, _, path in sorted(found, reverse=True)]


def _differences(manifest: Manifest, identity: RunIdentity, *, force: bool) -> tuple[str, ...]:
    differ = manifest.identity.differences(identity)
    if differ and not force:
        each = (f"{name} {manifest.identity.told(name)}, here {identity.told(name)}" for name in differ)
        raise CheckpointForeign(f"The checkpoint of step {manifest.step} has another {'; another '.join(each)}.")
    return differ


def _sentence(folder: Path, rejected: list[Verdict], *, best: bool) -> str:
    if not rejected:
        what = "a score" if best and list_checkpoints(folder) else "no fault"
        return f"None of the checkpoints in {folder} has {what}."
    faults = "; ".join(f"{verdict.folder.name}: {verdict.problem}" for verdict in rejected)
    return f"None of the checkpoints in {folder} is whole: {faults}."
