"""One bag file as a training takes it: verified once, then mapped, and its scan as far as the bag tells of it."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_bytes
from pellucid.domain.cohort import ScanEntry
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.encoders import BAG_SUFFIX, Bag, BagUnreadable, read_bag
from pellucid.training.survey import SurveyedScan
from pellucid.training.tiles import Truth

_ENTRY: Final = "pellucid_bag"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMBER = r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_GRID = re.compile(rf"(\d+) px at {_NUMBER} um/px\b")
_SCALE = re.compile(rf"{_NUMBER} x {_NUMBER} um/px, (\w+): (.*)")
_MARK_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BagFile:
    """What the header of a bag file says; nothing of it is verified yet."""

    path: Path
    provenance: dict[str, str]
    digest: str
    n_tiles: int
    dim: int

    @property
    def stem(self) -> str:
        """The file's name without the suffix of bags."""
        return stem_of(self.path)

    @property
    def scan(self) -> str | None:
        """The digest of the scan that the bag was made from, None where that isn't known."""
        scan = self.provenance.get("scan", "")
        return scan if _DIGEST.fullmatch(scan) else None

    @property
    def encoder(self) -> str:
        """What the bag says of its encoder: the digest of its spec, other words where it was imported, or nothing."""
        return self.provenance.get("spec", "")

    def may_be_of(self, spec: EncoderSpec) -> bool:
        """Whether an encoder can have made the bag: by its digest, or by its width alone where no digest is stated."""
        return self.dim == spec.dim and (self.encoder == spec.digest or not _DIGEST.fullmatch(self.encoder))


def stem_of(path: Path) -> str:
    """The name of a bag file without the suffix of bags."""
    return path.name.removesuffix(BAG_SUFFIX)


def describe_bag(path: Path) -> BagFile:
    """Read a bag file's header, whatever the size of the bag.

    Raises:
        BagUnreadable: the file is missing, truncated or no bag.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            description = json.loads((file.metadata() or {})[_ENTRY])
            n_tiles, dim = file.get_slice("features").get_shape()
            provenance, digest = description["provenance"], description["digest"]
    except OSError as error:
        raise BagUnreadable(f"{path.name} can't be read: {error.strerror or error}.") from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BagUnreadable(f"{path.name} doesn't describe itself as a bag: it is damaged or no bag.") from error
    if not isinstance(provenance, dict) or not all(isinstance(one, str) for one in provenance.values()):
        raise BagUnreadable(f"{path.name} has no readable provenance.")
    return BagFile(path=path, provenance=provenance, digest=str(digest), n_tiles=n_tiles, dim=dim)


def map_bag(file: BagFile) -> Bag:
    """Verify a bag file from end to end, then map it: rows come from the disk as they are used, and go when others do.

    The mapping is private, so nothing written to the arrays gets into the file, and it holds no file open: bags may be
    many, and larger than memory together. A bag file is replaced, never rewritten; a mapping of one that somebody
    truncates in place ends the process.

    Raises:
        BagUnreadable: truncated, altered, or replaced since `file` was described.
        BagVersionUnknown, BagUnfit, NonFiniteFeatures: as `read_bag`.
    """
    from safetensors import safe_open

    provenance = read_bag(file.path).provenance
    # the framework "pt" maps where "np" copies
    with safe_open(file.path, framework="pt") as opened:
        description = json.loads(opened.metadata()[_ENTRY])
        features, coords = opened.get_tensor("features").numpy(), opened.get_tensor("coords").numpy()
    if description.get("digest") != file.digest or provenance != file.provenance:
        raise BagUnreadable(f"{file.path.name} was replaced while it was read.")
    return Bag(features=features, coords=coords, provenance=provenance)


def content_mark(bag: Bag) -> str:
    """Marks bags of the same embeddings, whatever their files say: a digest of the shape and of the first rows."""
    shape = f"{bag.features.shape}".encode()
    return digest_bytes(shape + np.ascontiguousarray(bag.features[:_MARK_ROWS]).tobytes())


def scan_of(entry: ScanEntry, label: int, file: BagFile, bag: Bag) -> SurveyedScan:
    """A scan as far as its bag tells of it, without the slide.

    Its tiles lie where the bag says; how much tissue each holds isn't known (NaN), and of stain and quality nothing is
    (`features` is empty). The scale is the one that the bag was made at, else the table's; where neither says, it is
    NaN and a tile's edge is the least distance between tiles. The digest is the scan's, else the bag's own.
    """
    scale = _scale(entry, bag)
    return SurveyedScan(
        entry=entry,
        label=label,
        digest=file.scan or file.digest,
        scale=scale,
        grid=_grid(bag, scale),
        features={},
    )


def where_placed(truth: Truth) -> Truth:
    """`truth` for the scans whose scale is known; without one nobody can say where on the slide a tile lies."""
    return lambda scan: truth(scan) if math.isfinite(scan.scale.mpp) else None


def _scale(entry: ScanEntry, bag: Bag) -> Scale:
    stated = _SCALE.fullmatch(bag.provenance.get("scale", ""))
    if stated is not None and stated[3] in {source.value for source in ScaleSource}:
        mpp_x, mpp_y = float(stated[1]), float(stated[2])
        return Scale(mpp_x=mpp_x, mpp_y=mpp_y, source=ScaleSource(stated[3]), detail=stated[4])
    if entry.mpp is not None:
        return Scale(mpp_x=entry.mpp, mpp_y=entry.mpp, source=ScaleSource.OVERRIDE, detail="cohort table")
    return Scale(mpp_x=math.nan, mpp_y=math.nan, source=ScaleSource.FILE, detail="the bag doesn't say")


def _grid(bag: Bag, scale: Scale) -> TileGrid:
    stated = _GRID.match(bag.provenance.get("grid", ""))
    spacing = _spacing(bag.coords)
    if stated is None:
        tile_px, mpp, edge = spacing, scale.mpp, spacing
    else:
        tile_px, mpp = int(stated[1]), float(stated[2])
        edge = max(1, round(tile_px * mpp / scale.mpp)) if math.isfinite(scale.mpp) else spacing
    columns, rows = np.maximum(bag.coords.max(axis=0) // edge + 1, 1).tolist()
    return TileGrid(
        coords=bag.coords,
        tissue_fraction=np.full(len(bag), np.nan, dtype=np.float32),
        level0_px=edge,
        tile_px=tile_px,
        mpp=mpp,
        columns=columns,
        rows=rows,
    )


def _spacing(coords: NDArray[np.int32]) -> int:
    """The least distance between two tiles along either axis, level-0 pixels; 1 where there is only one tile."""
    steps = np.concatenate([np.diff(np.unique(coords[:, axis])) for axis in (0, 1)])
    return int(steps.min()) if steps.size else 1
