"""Tile features of TRIDENT, CLAM and STAMP as Pellucid's own bags, and bags as files for those tools.

A bag is matched to a row of a cohort by its file's name: `slide-7.h5` becomes `slide-7.bag.safetensors`, which belongs
to the row whose slide is named `slide-7`, or whose scan is a file with the stem `slide-7`. An imported bag always says
so in its provenance, in `imported_from` and in its `spec`, which is no digest as an own bag's is.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid._version import __version__
from pellucid.core.digests import digest_bytes
from pellucid.core.files import write_bytes
from pellucid.encoders.bag import Bag, half_features
from pellucid.encoders.errors import NonFiniteFeatures
from pellucid.encoders.hdf5_errors import (
    BagScaleUnknown,
    BagsMixed,
    FeatureFileNonFinite,
    FeatureFileUnreadable,
)
from pellucid.encoders.hdf5_layouts import (
    FeatureTool,
    TileSize,
    bag_scale,
    feature_arrays,
    guess_tool,
    lay_out,
    level0_corners,
    stated_extractor,
    stated_mpp,
    tile_size,
    without_batch,
)

MIN_MPP, MAX_MPP = 0.05, 5.0
"""What a microscope's level 0 can be, um/px; the same limits as for a slide's own scale."""

_SAME_MPP = 1e-3
# what h5py raises on damaged files, as found by flipping bits
_DAMAGE = (OSError, LookupError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
_FOLDER_OF = "features_"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFacts:
    """What a person says of feature files: level-0 um/px and the encoder's name, each where they say it."""

    mpp: float | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if self.mpp is not None:
            _require_plausible("stated", self.mpp)


NOTHING_STATED = StatedFacts()


def read_feature_file(path: Path, *, tool: FeatureTool | None = None, facts: StatedFacts = NOTHING_STATED) -> Bag:
    """Read a feature file as a bag, all of it checked.

    Features are rounded to float16, coordinates converted to level-0 pixels. The bag's provenance says the tool, the
    encoder as the file (or the person) says it, and the file's name and SHA-256.

    Over some damaged files HDF5 never comes back; `hdf5_child.FeatureFileReader` reads where that can't stop anything.

    Args:
        path: an HDF5 file of TRIDENT, CLAM or STAMP.
        tool: whose layout it has; None to tell from the file.
        facts: what a person says of it.

    Raises:
        FeatureFileUnreadable: missing, truncated, damaged or no HDF5.
        FeatureFileForeign: another layout, or no features of tiles.
        FeatureFileUnfit: wrong shapes, types or lengths, no tile, or never written in full.
        FeatureFileNonFinite: NaN, infinite or beyond float16.
        BagScaleUnknown: um/px is needed and unknown, or what is stated contradicts the file.
        BagsMixed: the stated encoder contradicts the file.
    """
    import h5py

    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeatureFileUnreadable(f"It can't be read: {error.strerror}.") from error
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _bag_of(file, path, digest_bytes(data), tool, facts)
    except _DAMAGE as error:
        raise FeatureFileUnreadable(f"It is truncated, damaged or no HDF5: {_first_line(error)}") from error


def _bag_of(file: Any, path: Path, digest: str, tool: FeatureTool | None, facts: StatedFacts) -> Bag:
    tool = guess_tool(file) if tool is None else tool
    features, coords = feature_arrays(file, tool)
    mpp, source = _scale(stated_mpp(file), facts.mpp)
    corners = level0_corners(coords[...].reshape(-1, 2), file, tool, mpp)
    extractor, said_by = _extractor(file, path, tool, facts.encoder)
    halves = _halves(features[...].reshape(without_batch(features.shape)))
    return Bag(
        features=halves,
        coords=corners,
        provenance={
            "scan": f"unknown: imported as {path.stem}",
            "spec": f"imported from {tool.upper()}: {extractor or 'unknown encoder'}, {halves.shape[1]} features",
            "grid": _grid_text(tile_size(file, tool, mpp), corners),
            "scale": "unknown" if mpp is None else f"{mpp[0]} x {mpp[1]} um/px, {source}",
            "software": __version__,
            "imported_from": tool.value,
            "extractor": extractor or "",
            "extractor_said_by": said_by,
            "source_file": path.name,
            "source_digest": digest,
            "source_version": str(file.attrs.get("stamp_version", "")),
        },
    )


def _scale(stated: tuple[float, float] | None, argument: float | None) -> tuple[tuple[float, float] | None, str]:
    """Level-0 um/px in x and y, and where they are known from: the file's own word, or a person's where it has none."""
    if stated is None:
        return None if argument is None else (argument, argument), "override: --mpp"
    _require_plausible("in the file", *stated)
    if argument is not None and any(abs(argument / value - 1) > _SAME_MPP for value in stated):
        raise BagScaleUnknown(
            f"{argument} um/px was stated, but the file says {stated[0]} x {stated[1]}.",
            remedy="Leave --mpp out for files that say it themselves.",
        )
    return stated, "file: written by Pellucid's export"


def _require_plausible(where: str, *values: float) -> None:
    if not all(MIN_MPP <= value <= MAX_MPP for value in values):
        raise BagScaleUnknown(f"{values} um/px, {where}, are no slide's: from {MIN_MPP} to {MAX_MPP} are.")


def _extractor(file: Any, path: Path, tool: FeatureTool, argument: str | None) -> tuple[str | None, str]:
    stated, said_by = stated_extractor(file, tool), "file"
    folder = path.resolve().parent.name
    if stated is None and tool is FeatureTool.TRIDENT and folder.startswith(_FOLDER_OF):
        stated, said_by = folder.removeprefix(_FOLDER_OF), "folder"
    if argument is None or argument == stated:
        return stated, said_by if stated else "nobody"
    if stated is not None:
        raise BagsMixed(
            f"{argument!r} was stated as its encoder, but its {said_by} says {stated!r}.",
            remedy="Leave --encoder out for files that say it themselves.",
        )
    return argument, "person"


def _halves(features: NDArray[Any]) -> NDArray[np.float16]:
    if not np.isfinite(features).all():
        raise FeatureFileNonFinite(f"{int((~np.isfinite(features)).sum())} of its features are NaN or infinite.")
    try:
        return np.ascontiguousarray(half_features(features))
    except NonFiniteFeatures as error:
        raise FeatureFileNonFinite(f"Its features reach {np.abs(features).max():g}; float16 ends at 65504.") from error


def _grid_text(tile: TileSize | None, corners: NDArray[np.int32]) -> str:
    size = "tiles of unknown size" if tile is None else f"{tile.px} px at {tile.mpp or 'unknown'} um/px"
    return f"{size}, {len(corners)} tiles, {digest_bytes(corners.tobytes())}"


def _first_line(error: Exception) -> str:
    return f"{(str(error).splitlines() or [type(error).__name__])[0]}."


def write_feature_file(path: Path, bag: Bag, *, tool: FeatureTool, mpp: float | None = None) -> None:
    """Write a bag as a feature file of `tool`, whole or not at all.

    Args:
        path: the file, which is named for the slide.
        bag: features and level-0 corners.
        tool: whose layout to write.
        mpp: level-0 um/px, for a bag that doesn't say it.

    Raises:
        BagScaleUnknown: the layout needs um/px or a tile size that is unknown, or what is stated contradicts the bag.
        StorageFull: the file system is full; nothing is left behind.
    """
    write_bytes(path, feature_file_bytes(bag, tool=tool, name=path.stem, mpp=mpp))


def feature_file_bytes(bag: Bag, *, tool: FeatureTool, name: str, mpp: float | None = None) -> bytes:
    """A bag as the bytes of a feature file; the same bag gives the same bytes.

    Args:
        bag: features and level-0 corners.
        tool: whose layout to write.
        name: the slide's name.
        mpp: level-0 um/px, for a bag that doesn't say it.

    Raises:
        BagScaleUnknown: the layout needs um/px or a tile size that is unknown, or what is stated contradicts the bag.
    """
    import h5py

    scale, _ = _scale(bag_scale(bag), StatedFacts(mpp=mpp).mpp)
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        lay_out(file, bag, tool, name=name, mpp=scale)
    return image.getvalue()
