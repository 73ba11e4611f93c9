"""The manifest: what a bundle is and which bytes belong to it."""

import json
from dataclasses import dataclass
from typing import Any

from pellucid.bundle.errors import BundleTooNew, ManifestInvalid
from pellucid.core.digests import canonical_json, digest_bytes
from pellucid.core.serial import from_plain, to_plain
from pellucid.domain.encoder import EncoderSpec

FORMAT = "pellucid-model-bundle"
FORMAT_VERSION = 2

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
ENCODER = "encoder.safetensors"
HEAD = "head.safetensors"
CALIBRATION = "calibration.json"
REFERENCE = "reference.json"
GOLDEN = "golden.safetensors"
MODEL_CARD = "model_card.md"
TUNING = "tuning.json"
ENSEMBLE = "ensemble.safetensors"
TUMOUR = "tumour.json"

_FIRST = (CALIBRATION, ENCODER, GOLDEN, HEAD, MODEL_CARD, REFERENCE)
REQUIRED = {1: _FIRST, 2: (*_FIRST, TUNING)}
"""The files that a manifest of each format version lists: no name is ever taken from a manifest."""
OPTIONAL: dict[int, tuple[str, ...]] = {1: (), 2: (ENSEMBLE, TUMOUR)}
"""The files that it may list besides."""

MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file's SHA-256 and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `manifest.json` holds; on disk it is exactly its canonical JSON (RFC 8785).

    `encoder_digest` and `head_digest` are the state digests of the weights; `model_digest` covers `encoder`, `head`,
    both of them and `mask_scheme`. `files` lists every file but the manifest and its signature; which there are, and
    which there may be, depends on `format_version`.
    """

    format: str
    format_version: int
    name: str
    created: str
    synthetic: bool
    model_digest: str
    encoder: EncoderSpec
    head: dict[str, Any]
    head_digest: str
    mask_scheme: str
    software_version: str
    licence: str
    intended_use: str
    provenance: dict[str, str]
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """The canonical JSON: these bytes are written, signed, and digested as the bundle's digest."""
        return canonical_json(to_plain(self))

    @property
    def digest(self) -> str:
        """The bundle's own digest, SHA-256 of the canonical manifest; it covers every file."""
        return digest_bytes(self.to_bytes())


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest strictly: every field known, of its type, and the bytes canonical.

    Raises:
        BundleTooNew: the format is newer than this version of Pellucid.
        ManifestInvalid: anything else that isn't a manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestInvalid(f"The manifest is larger than {MAX_MANIFEST_BYTES} bytes.")
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid("The manifest is not JSON.") from error
    _check_format(plain)
    try:
        manifest = from_plain(Manifest, plain)
        exact = manifest.to_bytes() == data
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"The manifest does not follow its format: {_first_line(error)}.") from error
    if not exact:
        raise ManifestInvalid("The manifest holds more than its format knows, or is not in canonical form (RFC 8785).")
    _check_files(manifest)
    return manifest


def _check_format(plain: Any) -> None:
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise ManifestInvalid("The manifest is not that of a Pellucid model bundle.")
    version = plain.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ManifestInvalid(f"The manifest's format version {version!r} is no whole number from 1.")
    if version > FORMAT_VERSION:
        raise BundleTooNew(f"The bundle has format {version}; this version of Pellucid reads up to {FORMAT_VERSION}.")


def _check_files(manifest: Manifest) -> None:
    version, files = manifest.format_version, set(manifest.files)
    if stray := sorted(files - {*REQUIRED[version], *OPTIONAL[version]}):
        raise ManifestInvalid(f"The manifest lists {stray[0]!r}, which no bundle of format {version} holds.")
    if absent := sorted(set(REQUIRED[version]) - files):
        raise ManifestInvalid(f"The manifest does not list {absent[0]}.")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[1:3]) if len(lines) > 1 else "".join(lines)
