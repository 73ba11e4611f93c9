"""What is seen of a scan before its tiles are read, and what is shown of it after."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.engine.child import Step
from pellucid.engine.messages import Illustrate, Illustrated, Prepare, Prepared
from pellucid.engine.open_scans import OpenScan
from pellucid.slides import (
    assess_quality,
    check_resolution,
    draw_tiles,
    draw_tissue,
    find_tissue,
    lay_grid,
    read_tiles,
    require_scale,
)
from pellucid.slides.tiles import check_decoding

_PNG_COMPRESSION = 4


def prepare(scan: OpenScan, job: Prepare, *, step: Step, open_s: float) -> Prepared:
    """Find a scan's tissue, judge its quality, lay its grid and draw its pictures.

    Args:
        scan: the open scan.
        job: what is asked.
        step: called after each stage.
        open_s: the seconds that opening took.

    Raises:
        PellucidError: the scan has no usable scale, is too coarse, or can't be decoded as the encoder wants it.
    """
    seconds = {"open": open_s}
    slide, geometry = scan.slide, job.geometry
    check_resolution(require_scale(slide.info), mpp=geometry.mpp, tolerance=geometry.tolerance)
    with _timed(seconds, "tissue"):
        tissue = find_tissue(slide)
        step()
        grid = lay_grid(slide.info, tissue, tile_px=geometry.tile_px, mpp=geometry.mpp)
    check_decoding(slide, grid.level0_px, geometry.tile_px, geometry.decoding)
    with _timed(seconds, "quality"):
        report = assess_quality(slide, tissue, grid)
        step()
        pictures = {"thumbnail": scan.thumbnail, "tissue": draw_tissue(scan.thumbnail, tissue), **report.pictures}
        encoded = _encoded(pictures)
    return Prepared(
        job=job.job,
        info=slide.info,
        grid=grid,
        quality=report.quality,
        seen=report.features,
        pictures=encoded,
        seconds=seconds,
    )


def illustrate(scan: OpenScan, job: Illustrate, *, step: Step) -> Illustrated:
    """Draw the grid, and read the tiles of most attention; of these, one that can't be decoded is left out.

    Raises:
        FileChanged: the bytes that were read aren't those that were identified.
    """
    start = time.perf_counter()
    pictures = {"tiles": draw_tiles(scan.thumbnail, scan.slide.info, job.grid, job.readable)}
    step()
    pictures |= _top_tiles(scan, job)
    answer = Illustrated(job=job.job, pictures=_encoded(pictures), seconds=time.perf_counter() - start)
    scan.require_unchanged()
    return answer


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _top_tiles(scan: OpenScan, job: Illustrate) -> dict[str, NDArray[np.uint8]]:
    if not job.top:
        return {}
    grid, decoding = _subset(job.grid, job.top), job.geometry.decoding
    batches = read_tiles(scan.slide, grid, batch_size=len(job.top), decoding=decoding)
    return {
        f"top_tile_{rank + 1}": pixels
        for batch in batches
        for rank, pixels, readable in zip(batch.index, batch.pixels, batch.readable, strict=True)
        if readable
    }


def _subset(grid: TileGrid, tiles: tuple[int, ...]) -> TileGrid:
    index = np.array(tiles, np.int64)
    return replace(grid, coords=grid.coords[index], tissue_fraction=grid.tissue_fraction[index])


def _encoded(pictures: dict[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    """PNG files of RGB arrays `(height, width, 3) uint8`."""
    return {name: _png(pixels) for name, pixels in pictures.items()}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(
        ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    )
    return bytes(data)
