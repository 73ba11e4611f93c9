"""Building a bundle: whole, signed and proven to load, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pellucid.bundle.ensemble import ensemble_to_bytes, not_of_one_kind
from pellucid.bundle.errors import BundleExists, PartsInvalid
from pellucid.bundle.golden import check_golden_arrays, golden_to_bytes
from pellucid.bundle.keys import SigningKey
from pellucid.bundle.loading import load_bundle
from pellucid.bundle.manifest import (
    CALIBRATION,
    ENCODER,
    ENSEMBLE,
    FORMAT,
    FORMAT_VERSION,
    GOLDEN,
    HEAD,
    MANIFEST,
    MODEL_CARD,
    REFERENCE,
    SIGNATURE,
    TUMOUR,
    TUNING,
    FileEntry,
    Manifest,
)
from pellucid.bundle.parts import BundleParts
from pellucid.bundle.signature import sign_manifest
from pellucid.bundle.tuning import TuningRecord, check_tumour, check_tuning
from pellucid.core.clock import utc_now
from pellucid.core.digests import canonical_json, digest_file
from pellucid.core.files import storage_errors, sync_path
from pellucid.core.serial import to_plain

SYNTHETIC_NOTICE = (
    "> **Synthetic model.** It was made from generated slides and knows nothing of real tissue; "
    "no real scan is decided under it.\n\n"
)
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


def build_bundle(folder: Path, parts: BundleParts, key: SigningKey) -> Path:
    """Write a signed bundle to `folder`, whole or not at all, and return its path.

    It is built in a folder beside, loaded as a site would load it, its golden checks run, and only then renamed.
    Needs torch.

    Args:
        folder: where the bundle goes; nothing may be there but an empty folder.
        parts: what goes in.
        key: signs the manifest.

    Raises:
        BundleExists: something is there already, or another build was first.
        PartsInvalid: the parts don't belong together.
        GoldenMismatch: the weights don't give the golden outputs.
        StorageFull: the disk is full; nothing is left behind.
    """
    _require_free(folder)
    check_parts(parts)
    with storage_errors(folder), _folder_beside(folder) as part:
        _write_content(part, parts)
        manifest = _describe(part, parts).to_bytes()
        (part / MANIFEST).write_bytes(manifest)
        (part / SIGNATURE).write_bytes(sign_manifest(manifest, key))
        made = load_bundle(part, [key.trusted()])
        made.check_golden()
        made.load_ensemble()
        _flush(part)
        _put_in_place(part, folder)
    return folder


def check_parts(parts: BundleParts) -> None:
    """Check that the parts belong together.

    Raises:
        PartsInvalid: lists everything that doesn't fit.
    """
    problems = list(_problems(parts))
    if problems:
        raise PartsInvalid(f"The bundle {parts.name!r} can't be built: {'; '.join(problems)}.")


def _problems(parts: BundleParts) -> Iterator[str]:
    spec, config, reference, golden = parts.spec, parts.head_config, parts.reference, parts.golden
    for name in ("name", "model_card", "software_version", "licence", "intended_use"):
        if not getattr(parts, name).strip():
            yield f"{name} is empty"
    if config.input_dim != spec.dim:
        yield f"the head takes {config.input_dim} features, but the encoder gives {spec.dim}"
    if any(len(row) != len(reference.mean) for row in reference.components):
        yield f"the reference's components are not as long as its mean ({len(reference.mean)})"
    yield from _problems_of_additions(parts)
    try:
        check_golden_arrays(golden)
    except ValueError as error:
        yield str(error)
        return
    tile = (spec.tile_px, spec.tile_px, 3)
    if golden.pixels.shape[1:] != tile or len(golden.pixels) > spec.batch_size:
        yield f"golden pixels have shape {golden.pixels.shape}, not (up to {spec.batch_size}, {tile})"
    if golden.features.shape[1] != spec.dim:
        yield f"golden features have {golden.features.shape[1]} columns, but the encoder gives {spec.dim}"
    if len(golden.logits) != parts.calibration.n_passes:
        yield f"there are {len(golden.logits)} golden logits for {parts.calibration.n_passes} passes"


def _problems_of_additions(parts: BundleParts) -> Iterator[str]:
    yield from not_of_one_kind(parts.head_state, parts.ensemble)
    try:
        check_tuning(_tuning(parts))
        if parts.tumour is not None:
            check_tumour(parts.tumour, parts.spec.dim)
    except ValueError as error:
        yield str(error)


def _tuning(parts: BundleParts) -> TuningRecord:
    return TuningRecord(patients=parts.patients, specimens=parts.tuning)


def _write_content(part: Path, parts: BundleParts) -> None:
    card = SYNTHETIC_NOTICE + parts.model_card if parts.synthetic else parts.model_card
    _save_state(part / ENCODER, parts.encoder_state)
    _save_state(part / HEAD, parts.head_state)
    (part / GOLDEN).write_bytes(golden_to_bytes(parts.golden))
    (part / CALIBRATION).write_bytes(_json_file(parts, CALIBRATION, lambda: to_plain(parts.calibration)))
    (part / REFERENCE).write_bytes(_json_file(parts, REFERENCE, lambda: to_plain(parts.reference)))
    (part / MODEL_CARD).write_bytes(card.encode())
    (part / TUNING).write_bytes(_json_file(parts, TUNING, lambda: to_plain(_tuning(parts))))
    if parts.ensemble:
        (part / ENSEMBLE).write_bytes(ensemble_to_bytes([_copies(state) for state in parts.ensemble]))
    if parts.tumour is not None:
        (part / TUMOUR).write_bytes(_json_file(parts, TUMOUR, lambda: to_plain(parts.tumour)))


def _json_file(parts: BundleParts, name: str, plain: Callable[[], Any]) -> bytes:
    try:
        return canonical_json(plain())
    except ValueError as error:
        raise PartsInvalid(f"The bundle {parts.name!r} can't be built: {name}: {error}.") from error


def _save_state(path: Path, state: Mapping[str, Any]) -> None:
    from pellucid.bundle.tensors import write_tensors

    write_tensors(path, _tensors(state))


def _tensors(state: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.as_tensor(value).detach() for name, value in state.items()}


def _copies(state: Mapping[str, Any]) -> dict[str, Any]:
    # tensors that share memory, as tied weights do, can't be stored as they are; a copy of each can
    return {name: tensor.cpu().contiguous().clone() for name, tensor in _tensors(state).items()}


def _describe(part: Path, parts: BundleParts) -> Manifest:
    from pellucid.encoders import state_digest
    from pellucid.uncertainty import MASK_SCHEME, model_digest

    weights = state_digest(_tensors(parts.encoder_state))
    if weights != parts.spec.weights_digest:
        raise PartsInvalid(
            f"The bundle {parts.name!r} can't be built: the encoder's weights have the digest {weights}, "
            f"but its spec says {parts.spec.weights_digest}."
        )
    head_digest = state_digest(_tensors(parts.head_state))
    return Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        name=parts.name,
        created=utc_now(),
        synthetic=parts.synthetic,
        model_digest=model_digest(parts.spec, parts.head_config, head_digest),
        encoder=parts.spec,
        head=to_plain(parts.head_config),
        head_digest=head_digest,
        mask_scheme=MASK_SCHEME,
        software_version=parts.software_version,
        licence=parts.licence,
        intended_use=parts.intended_use,
        provenance=dict(parts.provenance),
        files={file.name: _entry(file) for file in part.iterdir()},
    )


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=digest_file(path), size=path.stat().st_size)


def _require_free(folder: Path) -> None:
    empty_folder = folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    if os.path.lexists(folder) and not empty_folder:
        raise BundleExists(f"{folder} exists.")


@contextmanager
def _folder_beside(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _flush(part: Path) -> None:
    for file in part.iterdir():
        file.chmod(0o644)
        sync_path(file)
    part.chmod(0o755)
    sync_path(part)


def _put_in_place(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno in _TAKEN:
            raise BundleExists(f"{folder} exists: another build was first.") from error
        raise
    sync_path(folder.parent)
