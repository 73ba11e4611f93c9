"""Tiles to train an encoder on, drawn from the training slides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator
from pellucid.slides import open_slide, read_tiles
from pellucid.training.config import TrainingConfig
from pellucid.training.scans import Progress, ScanLeftOut, each_scan
from pellucid.training.survey import SurveyedScan

UNKNOWN: Final = -1
_TUMOUR_SHARE = 0.5
_CLEAN_SHARE = 0.05
_BATCH = 16

Truth = Callable[[SurveyedScan], NDArray[np.float32] | None]
"""The share of each tile of a scan's grid that is tumour, `(n_tiles,)`; None where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileSet:
    """Tiles with what is known of them.

    `pixels` is `(n, tile_px, tile_px, 3) uint8`. `tumour` is `(n,) int8`: 1 mostly tumour, 0 none, -1 unknown or
    neither. `label` is `(n,) int8`, the slide's molecular outcome, a weak label of its tumour tiles.
    """

    pixels: NDArray[np.uint8]
    tumour: NDArray[np.int8]
    label: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.pixels)

    def counts(self) -> dict[str, int]:
        """How many tiles are tumour, free of it, and neither or unknown."""
        return {
            "tumour": int((self.tumour == 1).sum()),
            "clean": int((self.tumour == 0).sum()),
            "unknown": int((self.tumour == UNKNOWN).sum()),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Where a scan's drawn tiles go in the set: `index` into its grid, `start` the first row of the set."""

    scan: SurveyedScan
    index: NDArray[np.int64]
    tumour: NDArray[np.int8]
    start: int


def sample_tiles(
    scans: Sequence[SurveyedScan], truth: Truth, config: TrainingConfig, progress: Progress
) -> tuple[TileSet, list[ScanLeftOut]]:
    """Draw tiles from each scan, half of them tumour where that is known, and read them.

    Tiles that can't be decoded are left out. The same configuration draws the same tiles.
    """
    places = _draw(scans, truth, config)
    total = sum(len(place.index) for place in places)
    edge = scans[0].grid.tile_px
    pixels = np.zeros((total, edge, edge, 3), dtype=np.uint8)
    readable = np.zeros(total, dtype=bool)
    _, left_out = each_scan(
        places,
        lambda place: _read(place, pixels, readable),
        entry_of=lambda place: place.scan.entry,
        stage="tiles",
        workers=config.workers,
        progress=progress,
    )
    tumour = np.concatenate([place.tumour for place in places])
    label = np.concatenate([np.full(len(place.index), place.scan.label, dtype=np.int8) for place in places])
    if readable.all():
        return TileSet(pixels=pixels, tumour=tumour, label=label), left_out
    return TileSet(pixels=pixels[readable], tumour=tumour[readable], label=label[readable]), left_out


def _draw(scans: Sequence[SurveyedScan], truth: Truth, config: TrainingConfig) -> list[_Place]:
    settings = config.encoder
    count = max(1, min(settings.tiles_per_slide, settings.max_tiles // len(scans)))
    places = []
    start = 0
    for scan in scans:
        tumour = tile_classes(truth(scan), len(scan.grid))
        index = _choose(tumour, count, generator("training-tiles", config.seed, scan.digest))
        places.append(_Place(scan=scan, index=index, tumour=tumour[index], start=start))
        start += len(index)
    return places


def tile_classes(share: NDArray[np.float32] | None, n_tiles: int) -> NDArray[np.int8]:
    """1 for a tile mostly of tumour, 0 for one free of it, -1 where it is neither or nobody knows; `(n_tiles,)`."""
    classes = np.full(n_tiles, UNKNOWN, dtype=np.int8)
    if share is not None:
        classes[share >= _TUMOUR_SHARE] = 1
        classes[share <= _CLEAN_SHARE] = 0
    return classes


def _choose(tumour: NDArray[np.int8], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    order = rng.permutation(len(tumour))
    is_tumour = tumour[order] == 1
    half = order[is_tumour][: count // 2]
    rest = np.concatenate([order[~is_tumour], order[is_tumour][count // 2 :]])
    return np.sort(np.concatenate([half, rest[: count - len(half)]])).astype(np.int64)


def _read(place: _Place, pixels: NDArray[np.uint8], readable: NDArray[np.bool_]) -> None:
    grid = place.scan.grid
    drawn = replace(grid, coords=grid.coords[place.index], tissue_fraction=grid.tissue_fraction[place.index])
    entry = place.scan.entry
    with open_slide(entry.path, mpp=entry.mpp, mpp_detail="cohort table") as slide:
        for batch in read_tiles(slide, drawn, batch_size=_BATCH):
            rows = place.start + batch.index[batch.readable]
            pixels[rows] = batch.pixels[batch.readable]
            readable[rows] = True
