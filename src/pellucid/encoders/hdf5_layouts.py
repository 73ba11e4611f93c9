"""How TRIDENT, CLAM and STAMP lay out tile features in HDF5: names, types, units and attributes.

- TRIDENT: `features` (n, dim) or, in older files, (1, n, dim); `coords` (n, 2) in level-0 pixels, with the attributes
  patch_size, patch_size_level0, level0_magnification, target_magnification, overlap, name, savetodir.
- CLAM: `features` (n, dim) float32; `coords` (n, 2) int32 in level-0 pixels; no attributes.
- STAMP: `feats` (n, dim) float16; `coords` (n, 2) float32 in um; attributes of the file are unit, tile_size_um,
  tile_size_px, extractor, stamp_version, code_hash, feat_type.

STAMP 2.0 writes `tile_size` with `unit` "um" in the place of `tile_size_um`; files of STAMP 1 say no unit.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pellucid._version import __version__
from pellucid.encoders.bag import Bag
from pellucid.encoders.hdf5_errors import BagScaleUnknown, FeatureFileForeign, FeatureFileUnfit

MPP_ATTRIBUTE: Final = "pellucid_mpp"
"""Level-0 um/px in x and y, on files that Pellucid exported; none of the three tools says it."""

_STAMP_LAYOUT = "2.1.0"
_INT32 = np.iinfo(np.int32)
_SCALE = re.compile(r"([0-9.e+-]+) x ([0-9.e+-]+) um/px")
_TILE = re.compile(r"(\d+) px at ([0-9.e+-]+) um/px")


class FeatureTool(StrEnum):
    """Whose layout a feature file has."""

    TRIDENT = "trident"
    CLAM = "clam"
    STAMP = "stamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSize:
    """A tile as its encoder reads it: its edge in pixels, and um/px (None: unknown)."""

    px: int
    mpp: float | None


def guess_tool(file: Any) -> FeatureTool:
    """Whose layout an open HDF5 file has.

    Raises:
        FeatureFileForeign: nobody's, or it holds coordinates only.
    """
    if "feats" in file and "features" not in file:
        return FeatureTool.STAMP
    if "features" in file and "coords" in file:
        attributes = {*file["coords"].attrs, *file["features"].attrs}
        marks = {"patch_size_level0", "level0_magnification", "target_magnification", "savetodir"}
        return FeatureTool.TRIDENT if attributes & marks else FeatureTool.CLAM
    if "coords" in file:
        raise FeatureFileForeign(
            "It holds coordinates without features: it lists patches that were yet to be embedded."
        )
    raise FeatureFileForeign(f"It holds {sorted(map(str, file))[:6]}, neither features nor feats with coords.")


def feature_arrays(file: Any, tool: FeatureTool) -> tuple[Any, Any]:
    """The data sets of features and coordinates of an open file, checked for type, shape and completeness but not read.

    Raises:
        FeatureFileForeign: one is missing.
        FeatureFileUnfit: a type or shape is wrong, lengths differ, there is no tile, or a part was never written.
    """
    import h5py

    name = "feats" if tool is FeatureTool.STAMP else "features"
    level = text_of(file.attrs.get("feat_type", "tile"))
    if level != "tile":
        raise FeatureFileForeign(f"Its features are of a {level}, not of tiles.")
    for wanted in (name, "coords"):
        if not isinstance(file.get(wanted), h5py.Dataset):
            raise FeatureFileForeign(f"It has no data set {wanted!r}, which {tool.upper()} writes.")
    features, coords = file[name], file["coords"]
    if features.dtype.kind != "f" or coords.dtype.kind not in "iuf":
        raise FeatureFileUnfit(f"{name} are {features.dtype} and coords {coords.dtype}: not numbers of that kind.")
    shape, places = without_batch(features.shape), without_batch(coords.shape)
    if len(shape) != 2 or len(places) != 2 or places[1] != 2:
        raise FeatureFileUnfit(f"{name} have the shape {features.shape} and coords {coords.shape}.")
    if shape[0] != places[0]:
        raise FeatureFileUnfit(f"There are {shape[0]} {name} but {places[0]} coords.")
    if 0 in shape:
        raise FeatureFileUnfit(f"{name} have the shape {features.shape}: there is nothing in them.")
    for dataset in (features, coords):
        stored, whole = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize
        # HDF5 reads what was never written as zeros, such as the rest of a file whose writer was killed
        if dataset.id.get_create_plist().get_nfilters() == 0 and stored < whole:
            raise FeatureFileUnfit(f"Only {stored} of the {whole} bytes of {dataset.name} were ever written.")
    return features, coords


def without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the leading 1 of a batch."""
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def level0_corners(
    coords: NDArray[Any], file: Any, tool: FeatureTool, mpp: tuple[float, float] | None
) -> NDArray[np.int32]:
    """Corners in level-0 pixels, `(n, 2) int32`.

    Args:
        coords: `(n, 2)` as the file holds them.
        file: the open file.
        tool: whose layout it has.
        mpp: level-0 um/px in x and y, where known.

    Raises:
        BagScaleUnknown: the coordinates are in um, or of an unknown unit, and the slide's um/px is unknown.
        FeatureFileUnfit: pixel coordinates aren't whole numbers, or a coordinate is not finite or beyond int32.
    """
    values = coords.astype(np.float64)
    if not np.isfinite(values).all():
        raise FeatureFileUnfit("Its coords hold NaN or infinite values.")
    if tool is FeatureTool.STAMP:
        _require_um(file)
        if mpp is None:
            raise BagScaleUnknown("Its coords are in um, and it doesn't say the slide's um/px.")
        values = np.rint(values / np.array(mpp))
    elif (values != np.rint(values)).any():
        raise FeatureFileUnfit("Its coords aren't whole numbers, so they are no level-0 pixels.")
    if values.min() < _INT32.min or values.max() > _INT32.max:
        raise FeatureFileUnfit(f"Its coords reach {np.abs(values).max():g}, which is beyond any slide.")
    return values.astype(np.int32)


def _require_um(file: Any) -> None:
    unit = text_of(file.attrs.get("unit", "um" if "tile_size_um" in file.attrs else "unknown"))
    if unit != "um":
        raise BagScaleUnknown(
            f"Its coords are in the unit {unit!r}, not um.",
            remedy="Extract the features again with STAMP 2, which says the unit, or convert the file with its tools.",
        )


def tile_size(file: Any, tool: FeatureTool, mpp: tuple[float, float] | None) -> TileSize | None:
    """The tile's size as the file says it; um/px at the tile from its exact size where known, else nominal."""
    if tool is FeatureTool.CLAM:
        return None
    attributes = file["coords"].attrs if tool is FeatureTool.TRIDENT else file.attrs
    px = _number(attributes, "patch_size" if tool is FeatureTool.TRIDENT else "tile_size_px")
    if px is None or px < 1:
        return None
    if tool is FeatureTool.STAMP:
        um = _number(attributes, "tile_size_um") or _number(attributes, "tile_size")
        return TileSize(px=round(px), mpp=um / px if um else None)
    level0, target = _number(attributes, "patch_size_level0"), _number(attributes, "target_magnification")
    if mpp is not None and level0:
        return TileSize(px=round(px), mpp=level0 * (mpp[0] * mpp[1]) ** 0.5 / px)
    return TileSize(px=round(px), mpp=10 / target if target else None)


def stated_extractor(file: Any, tool: FeatureTool) -> str | None:
    """The encoder's name where the file says one."""
    holders = [file.attrs] if tool is FeatureTool.STAMP else [file["features"].attrs, file.attrs, file["coords"].attrs]
    names = ("extractor", "encoder", "model_name", "patch_encoder")
    found = [text_of(holder[name]) for holder in holders for name in names if name in holder]
    return next((name for name in found if name), None)


def stated_mpp(file: Any) -> tuple[float, float] | None:
    """Level-0 um/px in x and y, where the file is one that Pellucid exported with them."""
    values = np.asarray(file.attrs.get(MPP_ATTRIBUTE, ()))
    if values.shape != (2,) or values.dtype.kind != "f":
        return None
    return float(values[0]), float(values[1])


def text_of(value: Any) -> str:
    """An attribute's value as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    try:
        value = float(attributes[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if np.isfinite(value) and value > 0 else None


def bag_scale(bag: Bag) -> tuple[float, float] | None:
    """Level-0 um/px in x and y, where the bag's provenance says them."""
    found = _SCALE.match(bag.provenance.get("scale", ""))
    return None if found is None else (float(found[1]), float(found[2]))


def lay_out(file: Any, bag: Bag, tool: FeatureTool, *, name: str, mpp: tuple[float, float] | None) -> None:
    """Fill an open, empty HDF5 file with a bag as `tool` lays it out, each array in one contiguous piece.

    Raises:
        BagScaleUnknown: the layout needs the slide's um/px or the tile's size, and the bag doesn't say them.
    """
    match tool:
        case FeatureTool.STAMP:
            _lay_out_stamp(file, bag, *_needed(bag, tool, mpp))
        case FeatureTool.TRIDENT:
            file.create_dataset("features", data=bag.features.astype(np.float32))
            file.create_dataset("coords", data=bag.coords.astype(np.int64))
            file["features"].attrs.update({"name": name, "savetodir": "", "encoder": _encoder(bag)})
            file["coords"].attrs.update({**_trident_geometry(*_needed(bag, tool, mpp)), "name": name, "savetodir": ""})
        case FeatureTool.CLAM:
            file.create_dataset("features", data=bag.features.astype(np.float32))
            file.create_dataset("coords", data=np.ascontiguousarray(bag.coords))
            file["features"].attrs["encoder"] = _encoder(bag)
    file.attrs["pellucid_version"] = __version__
    if mpp is not None:
        file.attrs[MPP_ATTRIBUTE] = np.array(mpp)


def _lay_out_stamp(file: Any, bag: Bag, mpp: tuple[float, float], tile: tuple[int, float]) -> None:
    file.create_dataset("coords", data=(bag.coords * np.array(mpp)).astype(np.float32))
    file.create_dataset("feats", data=np.ascontiguousarray(bag.features))
    file.attrs.update(
        {
            "stamp_version": _STAMP_LAYOUT,
            "extractor": _encoder(bag),
            "unit": "um",
            "tile_size_um": tile[0] * tile[1],
            "tile_size_px": tile[0],
            "code_hash": "pellucid",
            "feat_type": "tile",
        }
    )


def _trident_geometry(mpp: tuple[float, float], tile: tuple[int, float]) -> dict[str, int]:
    mean = (mpp[0] * mpp[1]) ** 0.5
    return {
        "patch_size": tile[0],
        "patch_size_level0": round(tile[0] * tile[1] / mean),
        "level0_magnification": round(10 / mean),
        "target_magnification": round(10 / tile[1]),
        "overlap": 0,
    }


def _needed(
    bag: Bag, tool: FeatureTool, mpp: tuple[float, float] | None
) -> tuple[tuple[float, float], tuple[int, float]]:
    if mpp is None:
        raise BagScaleUnknown(f"The bag doesn't say the slide's um/px, which a file for {tool.upper()} needs.")
    tile = _TILE.match(bag.provenance.get("grid", ""))
    if tile is None:
        raise BagScaleUnknown(
            f"The bag doesn't say its tiles' size, which a file for {tool.upper()} needs.",
            remedy="Export it for CLAM, which says no sizes, or make the bag again from its scan.",
        )
    return mpp, (int(tile[1]), float(tile[2]))


def _encoder(bag: Bag) -> str:
    spec = bag.provenance.get("spec", "")
    return bag.provenance.get("extractor") or f"pellucid-{spec[:8] or 'unknown'}"
