"""Bags: the embeddings of one scan's tiles, in one file that is whole or refused.

A bag file is a safetensors file `*.bag.safetensors` with `features (n, dim) float16` and `coords (n, 2) int32` in one
contiguous piece each, and in its metadata the format version, the provenance and a digest of all of it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pellucid._version import __version__
from pellucid.core.digests import canonical_json, digest_bytes
from pellucid.core.files import write_bytes
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale
from pellucid.encoders.errors import BagUnfit, BagUnreadable, BagVersionUnknown, NonFiniteFeatures

BAG_VERSION: Final = "1"
BAG_SUFFIX: Final = ".bag.safetensors"

_ENTRY = "pellucid_bag"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bag:
    """Embeddings of one scan's tiles.

    `features` is `(n, dim) float16`, all finite; `coords` is `(n, 2) int32`, the upper left corner (x, y) of each tile
    in level-0 pixels. `provenance` says what the embeddings depend on (see `bag_provenance`), as text.

    Raises:
        BagUnfit: shapes or types are not those.
        NonFiniteFeatures: a feature is NaN or infinite.
    """

    features: NDArray[np.float16]
    coords: NDArray[np.int32]
    provenance: dict[str, str]

    def __post_init__(self) -> None:
        _require_array(self.features, "features", np.dtype(np.float16))
        _require_array(self.coords, "coords", np.dtype(np.int32))
        if self.coords.shape != (len(self.features), 2):
            raise BagUnfit(f"A bag of {len(self.features)} tiles has coords of shape {self.coords.shape}.")
        if not all(isinstance(part, str) for item in self.provenance.items() for part in item):
            raise BagUnfit("A bag's provenance holds something that is no text.")
        if not np.isfinite(self.features).all():
            raise NonFiniteFeatures("A bag holds NaN or infinite features.")

    def __len__(self) -> int:
        return len(self.features)


def half_features(features: NDArray[np.float32]) -> NDArray[np.float16]:
    """Round features to float16, the only precision in which a head ever sees them.

    Raises:
        NonFiniteFeatures: a feature is NaN, infinite or beyond 65504, the largest float16.
    """
    with np.errstate(over="ignore"):
        rounded = features.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise NonFiniteFeatures(f"{int((~np.isfinite(rounded)).sum())} features are not finite in float16.")
    return rounded


def bag_provenance(*, scan: str, spec: EncoderSpec, grid: TileGrid, scale: Scale) -> dict[str, str]:
    """All that a scan's embeddings depend on: scan digest, encoder spec, grid, scale used, software.

    Args:
        scan: the scan's digest.
        spec: the encoder's spec.
        grid: the tiles, of which the digest of the coordinates is kept.
        scale: the scale used, with its source.
    """
    return {
        "scan": scan,
        "spec": spec.digest,
        "grid": f"{grid.tile_px} px at {grid.mpp} um/px, {len(grid)} tiles, {digest_bytes(grid.coords.tobytes())}",
        "scale": f"{scale.mpp_x} x {scale.mpp_y} um/px, {scale.source.value}: {scale.detail}",
        "software": __version__,
    }


def write_bag(path: Path, bag: Bag) -> None:
    """Write a bag, whole or not at all.

    Raises:
        StorageFull: the file system is full; nothing is left behind.
    """
    from safetensors.numpy import save

    description = {"format": BAG_VERSION, "provenance": bag.provenance, "digest": _digest(bag)}
    # one entry only: safetensors writes several in an order that changes from run to run
    metadata = {_ENTRY: canonical_json(description).decode()}
    arrays: dict[str, NDArray[Any]] = {
        "features": np.ascontiguousarray(bag.features),
        "coords": np.ascontiguousarray(bag.coords),
    }
    write_bytes(path, save(arrays, metadata=metadata))


def read_bag(path: Path) -> Bag:
    """Read a bag and verify all of it: version, shapes, types, finiteness and digest.

    Raises:
        BagUnreadable: the file is missing, truncated, altered or no bag.
        BagVersionUnknown: another format version.
        BagUnfit: an array has another shape or type.
        NonFiniteFeatures: a feature is NaN or infinite.
    """
    data = _read_bytes(path)
    description = _description(path, data)
    version = description.get("format")
    if version != BAG_VERSION:
        raise BagVersionUnknown(f"{path.name} is a bag of format {version!r}; this version reads {BAG_VERSION!r}.")
    arrays = _arrays(path, data)
    bag = Bag(features=arrays["features"], coords=arrays["coords"], provenance=_provenance(path, description))
    if _digest(bag) != description.get("digest"):
        raise BagUnreadable(f"{path.name} is not as it was written: its contents don't match their digest.")
    return bag


def _require_array(array: NDArray[Any], name: str, dtype: np.dtype[Any]) -> None:
    if array.ndim != 2 or 0 in array.shape or array.dtype != dtype:
        raise BagUnfit(f"A bag's {name} are {array.shape} {array.dtype}; two dimensions of {dtype} are needed.")


def _digest(bag: Bag) -> str:
    total = hashlib.sha256()
    shapes = {"features": list(bag.features.shape), "coords": list(bag.coords.shape)}
    total.update(canonical_json({"shapes": shapes, "provenance": bag.provenance}))
    total.update(np.ascontiguousarray(bag.features).tobytes())
    total.update(np.ascontiguousarray(bag.coords).tobytes())
    return total.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BagUnreadable(f"{path.name} can't be read: {error.strerror}.") from error


def _description(path: Path, data: bytes) -> dict[str, Any]:
    """What the metadata of the safetensors header (8 bytes of length, little endian, then JSON) says of the bag."""
    header = _json_object(path, data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__")
    entry = metadata.get(_ENTRY) if isinstance(metadata, dict) else None
    if not isinstance(entry, str):
        raise BagUnreadable(f"{path.name} doesn't describe itself as a bag: it is no bag.")
    return _json_object(path, entry.encode())


def _json_object(path: Path, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BagUnreadable(f"{path.name} has no readable header: it is truncated, damaged or no bag.") from error
    if not isinstance(value, dict):
        raise BagUnreadable(f"{path.name} has no readable header: it is no bag.")
    return value


def _arrays(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray[Any]] = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise BagUnreadable(f"{path.name} is truncated or damaged: {error}.") from error
    if arrays.keys() != {"features", "coords"}:
        raise BagUnreadable(f"{path.name} holds {sorted(arrays)}, not features and coords: it is no bag.")
    return arrays


def _provenance(path: Path, description: dict[str, Any]) -> dict[str, str]:
    provenance = description.get("provenance")
    if not isinstance(provenance, dict):
        raise BagUnreadable(f"{path.name} has no readable provenance.")
    return provenance
