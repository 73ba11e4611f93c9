"""A reader process: everything that touches a scan's file. Never imports torch, never sees a database."""

import time
from typing import assert_never

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.engine.buffers import Buffers
from pellucid.engine.child import ProcessUnusable, Step, run
from pellucid.engine.looking import illustrate, prepare
from pellucid.engine.messages import (
    Encode,
    FromReader,
    Identified,
    Identify,
    Illustrate,
    Job,
    Prepare,
    ReadTiles,
    Sample,
    Setup,
    TilesRead,
)
from pellucid.engine.open_scans import OpenScan, OpenScans
from pellucid.slides.identity import identify_marked
from pellucid.slides.tiles import read_tiles_into


class Reader:
    """Does a reader's jobs."""

    def __init__(self, setup: Setup, buffers: Buffers) -> None:
        cv2.setNumThreads(setup.threads)
        self._buffers = buffers
        self._scans = OpenScans()
        self._scratch = np.zeros(0, np.uint8)

    @property
    def detail(self) -> str:
        """With what it reads."""
        return f"threads: {cv2.getNumThreads()}"

    def do(self, job: Job, *, step: Step, waited_s: float) -> FromReader:  # noqa: ARG002 - waiting costs a reader nothing
        """Do a job; see `child.Work`."""
        if isinstance(job, Identify):
            identity, fingerprint = identify_marked(job.path, lambda _: step())
            return Identified(job=job.job, identity=identity, fingerprint=fingerprint)
        if isinstance(job, Encode | Sample):
            raise ProcessUnusable(f"{type(job).__name__} is no job of a reader")
        start = time.perf_counter()
        with self._scans.using(job.file) as scan:
            if isinstance(job, ReadTiles):
                return self._read(scan, job)
            opened = time.perf_counter()
            step()
            if isinstance(job, Prepare):
                return prepare(scan, job, step=step, open_s=opened - start)
            if isinstance(job, Illustrate):
                return illustrate(scan, job, step=step)
        assert_never(job)

    def rest(self) -> None:
        """Close the scans, so that nothing holds a share that somebody wants to unmount."""
        self._scans.close()
        self._scratch = np.zeros(0, np.uint8)

    def _read(self, scan: OpenScan, job: ReadTiles) -> TilesRead:
        start, cpu = time.perf_counter(), time.process_time()
        places = [self._buffers.tiles(t.slot)[t.first : t.first + t.count] for t in job.targets]
        # one read for all, so that a compressed block at the seam of two slots is decoded once
        pixels = places[0] if len(places) == 1 else self._borrow(len(job.coords), job.geometry.tile_px)
        readable = read_tiles_into(scan.slide, job.coords, job.level0_px, pixels, decoding=job.geometry.decoding)
        if len(places) > 1:
            for place, part in zip(places, _parts(pixels, job), strict=True):
                place[:] = part
        return TilesRead(
            job=job.job,
            readable=readable,
            seconds=time.perf_counter() - start,
            cpu_s=time.process_time() - cpu,
        )

    def _borrow(self, n_tiles: int, tile_px: int) -> NDArray[np.uint8]:
        """Memory for tiles `(n_tiles, tile_px, tile_px, 3)`, the same each time."""
        size = n_tiles * tile_px * tile_px * 3
        if self._scratch.size < size:
            self._scratch = np.zeros(size, np.uint8)
        return self._scratch[:size].reshape(n_tiles, tile_px, tile_px, 3)


def _parts(pixels: NDArray[np.uint8], job: ReadTiles) -> list[NDArray[np.uint8]]:
    ends = np.cumsum([target.count for target in job.targets])
    return np.split(pixels, ends[:-1])


if __name__ == "__main__":
    run(Reader)
