"""One scan, from its file to a posterior. Nothing here knows of databases, cohorts or policies."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.domain.posterior import Posterior
from pellucid.domain.quality import Quality
from pellucid.domain.scan import ScanInfo
from pellucid.pipeline.errors import NothingReadable, NoTissue, Seen
from pellucid.slides import (
    Slide,
    assess_quality,
    check_resolution,
    draw_tiles,
    draw_tissue,
    find_tissue,
    lay_grid,
    open_slide,
    read_tiles,
    render_thumbnail,
    require_scale,
    unreadable_measure,
)
from pellucid.statistics.posterior import summarise
from pellucid.statistics.reference import distance

if TYPE_CHECKING:
    from pellucid.bundle import Bundle
    from pellucid.encoders import TileEncoder

TileProgress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""
N_TOP_TILES = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredScan:
    """What a scan gave.

    `grid` holds the tiles that could be read, `features` their embeddings `(n_read, dim) float16`; `attention_mean`
    and `attention_sd` are `(n_read,) float32` over the passes. `n_tiles` counts the unreadable ones too. `embedding`
    is `(trunk_dim,) float32`, dropout-free; `components` its leading whitened components under the reference, and
    `distance` how far it lies from the training slides. `seen` are the numbers that monitoring follows. `pictures` are
    RGB arrays by name; `top_tile_1` is the tile with most attention.
    """

    info: ScanInfo
    quality: Quality
    posterior: Posterior
    grid: TileGrid
    features: NDArray[np.float16]
    n_tiles: int
    n_unreadable: int
    attention_mean: NDArray[np.float32]
    attention_sd: NDArray[np.float32]
    embedding: NDArray[np.float32]
    components: tuple[float, ...]
    distance: float
    seen: dict[str, float]
    pictures: dict[str, NDArray[np.uint8]]


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def score(
    path: Path | str,
    bundle: "Bundle",
    *,
    mpp: float | None = None,
    progress: TileProgress | None = None,
    watch: Stopwatch | None = None,
) -> ScoredScan:
    """Score one slide under a model bundle.

    Memory holds one batch of tiles and the features, never the slide.

    Args:
        path: a slide file.
        bundle: a verified bundle.
        mpp: um/px of level 0 where the file doesn't say or says an absurd value.
        progress: called after each batch with (tiles done, tiles in all).
        watch: collects the seconds by stage.

    Raises:
        PellucidError: the slide can't be opened, has no usable scale, is too coarse, holds no tissue, can't be
            decoded, or gives features that aren't finite; each is its own subclass with its own code.
    """
    from pellucid.uncertainty import run_passes

    watch = watch or Stopwatch()
    with watch.stage("open"):
        slide = open_slide(path, mpp=mpp)
    with slide:
        with watch.stage("open"):
            scale = require_scale(slide.info)
            check_resolution(scale, mpp=bundle.spec.mpp, tolerance=bundle.spec.mpp_tolerance)
        with watch.stage("tissue"):
            tissue = find_tissue(slide)
            grid = lay_grid(slide.info, tissue, tile_px=bundle.spec.tile_px, mpp=bundle.spec.mpp)
        with watch.stage("quality"):
            report = assess_quality(slide, tissue, grid)
            thumbnail = render_thumbnail(slide)
            pictures = {"thumbnail": thumbnail, "tissue": draw_tissue(thumbnail, tissue), **report.pictures}
        seen = Seen(info=slide.info, quality=report.quality, features=report.features, pictures=pictures)
        if len(grid) == 0:
            raise NoTissue("No tile of the scan holds enough tissue to answer from.").having(seen)
        features, readable = _encode(slide, grid, bundle.load_encoder(), progress, watch)
        pictures["tiles"] = draw_tiles(thumbnail, slide.info, grid, readable)
        n_unreadable = len(grid) - len(features)
        measure = unreadable_measure(n_unreadable, len(grid))
        quality = Quality(measures=(*report.quality.measures, measure))
        if len(features) == 0:
            error = NothingReadable(f"None of the scan's {len(grid)} tissue tiles could be decoded.")
            raise error.having(replace(seen, quality=quality, n_tiles=len(grid), n_unreadable=n_unreadable))
        read = _subset(grid, np.flatnonzero(readable))
        with watch.stage("passes"):
            passes = run_passes(
                bundle.load_head(), features, model=bundle.model_digest, n_passes=bundle.calibration.n_passes
            )
            posterior = summarise(
                passes.logits, temperature=bundle.calibration.temperature, n_scans=1, level=bundle.calibration.level
            )
            away, components = distance(bundle.reference, passes.embedding)
        with watch.stage("artefacts"):
            pictures |= _top_tiles(slide, read, passes.attention_mean)
    return ScoredScan(
        info=slide.info,
        quality=quality,
        posterior=posterior,
        grid=read,
        features=features,
        n_tiles=len(grid),
        n_unreadable=n_unreadable,
        attention_mean=passes.attention_mean,
        attention_sd=passes.attention_sd,
        embedding=passes.embedding,
        components=tuple(float(value) for value in components),
        distance=away,
        seen=report.features,
        pictures=pictures,
    )


def _subset(grid: TileGrid, index: NDArray[np.intp]) -> TileGrid:
    return replace(grid, coords=grid.coords[index], tissue_fraction=grid.tissue_fraction[index])


def _top_tiles(slide: Slide, grid: TileGrid, attention: NDArray[np.float32]) -> dict[str, NDArray[np.uint8]]:
    """The tiles with most attention, most first."""
    order = np.argsort(-attention, kind="stable")[:N_TOP_TILES]
    batches = read_tiles(slide, _subset(grid, order), batch_size=N_TOP_TILES)
    return {
        f"top_tile_{rank + 1}": pixels.copy()
        for batch in batches
        for rank, pixels, readable in zip(batch.index, batch.pixels, batch.readable, strict=True)
        if readable
    }


def _encode(
    slide: Slide, grid: TileGrid, encoder: "TileEncoder", progress: TileProgress | None, watch: Stopwatch
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Features of the tiles that could be read, `(n_read, dim) float16`, and which these are, `(n_tiles,) bool`."""
    from pellucid.encoders.bag import half_features

    features = np.zeros((len(grid), encoder.spec.dim), np.float16)
    readable = np.zeros(len(grid), bool)
    batches = read_tiles(slide, grid, batch_size=encoder.spec.batch_size)
    done = 0
    while True:
        with watch.stage("read"):
            batch = next(batches, None)
        if batch is None:
            return features[readable], readable
        with watch.stage("encode"):
            index = batch.index[batch.readable]
            if len(index):
                features[index] = half_features(encoder.encode(batch.pixels[batch.readable]))
            readable[index] = True
        done += len(batch.index)
        if progress is not None:
            progress(done, len(grid))
