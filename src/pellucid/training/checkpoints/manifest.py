"""What a checkpoint says of itself: the list of its files with their digests, and whose state it is."""

import hashlib
import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import pydantic

from pellucid.core.serial import from_plain, to_plain
from pellucid.training.checkpoints.errors import CheckpointDamaged

MANIFEST: Final = "MANIFEST.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What a state depends on besides its steps, as digests; another of any of them is another training.

    `names` are what the digests are of (version, the cohort's name), for messages; they are not compared.
    """

    config: str
    software: str
    cohort: str
    names: dict[str, str] = field(default_factory=dict)

    def differences(self, other: "RunIdentity") -> tuple[str, ...]:
        """Which of config, software and cohort differ."""
        return tuple(name for name in ("config", "software", "cohort") if getattr(self, name) != getattr(other, name))

    def told(self, name: str) -> str:
        """One of the digests for a message: its beginning, with the name of what it is of."""
        known = f" ({self.names[name]})" if name in self.names else ""
        return f"{getattr(self, name)[:12]}{known}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A checkpoint's manifest.

    `number` counts the checkpoints of a task from 1, `token` is the lock's under which it was written (0 without one),
    `files` are names with SHA-256 and size in bytes, `created` is UTC.
    """

    format: int = FORMAT
    step: int
    number: int
    world: int
    reason: str
    score: float | None
    token: int
    identity: RunIdentity
    extra: dict[str, Any]
    files: dict[str, tuple[str, int]]
    created: str

    @property
    def n_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(size for _, size in self.files.values())


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as it is written: JSON that carries its own digest.

    Raises:
        TypeError, ValueError: `extra` is no plain JSON.
    """
    # through JSON and back: what is digested must be what a reader will find
    body = json.loads(json.dumps({one.name: to_plain(getattr(manifest, one.name)) for one in fields(manifest)}))
    return (json.dumps(body | {"digest": _digest(body)}, indent=1) + "\n").encode()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into a checkpoint that isn't committed, down to the disk."""
    with (folder / MANIFEST).open("xb") as file:
        file.write(manifest_bytes(manifest))
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        CheckpointDamaged: it is missing, was changed, or is of another format.
        OSError: it can't be read.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointDamaged(f"{folder.name} has no {MANIFEST}.") from error
    try:
        body = json.loads(data)
        claimed = body.pop("digest")
        whole = claimed == _digest(body)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointDamaged(f"{MANIFEST} of {folder.name} is no manifest.") from error
    if not whole:
        raise CheckpointDamaged(f"{MANIFEST} of {folder.name} was changed.")
    if body.get("format") != FORMAT:
        raise CheckpointDamaged(f"{folder.name} has format {body.get('format')}, which this software doesn't know.")
    try:
        return from_plain(Manifest, body)
    except pydantic.ValidationError as error:
        raise CheckpointDamaged(f"{MANIFEST} of {folder.name} lacks fields.") from error


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
