"""The jobs of readers, made from where a scan stands."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.domain.encoder import EncoderSpec
from pellucid.engine.flow import Flow
from pellucid.engine.member import Assignment
from pellucid.engine.messages import Geometry, Identify, Illustrate, Prepare, ReadTiles, Target

N_TOP_TILES = 6


class ReaderJobs:
    """Makes jobs, each with a number of its own.

    Args:
        spec: the encoder, for which tiles are cut.
        next_job: gives job numbers.
    """

    def __init__(self, spec: EncoderSpec, next_job: Callable[[], int]) -> None:
        self._next_job = next_job
        self._geometry = Geometry(
            tile_px=spec.tile_px, mpp=spec.mpp, tolerance=spec.mpp_tolerance, decoding=spec.decoding
        )

    def identify(self, path: Path) -> Assignment:
        """Hash a file."""
        return Assignment(job=Identify(job=self._next_job(), path=path), about=path)

    def prepare(self, flow: Flow) -> Assignment:
        """Look at a scan."""
        return Assignment(job=Prepare(job=self._next_job(), file=flow.work.file, geometry=self._geometry), about=flow)

    def read(self, flow: Flow, tiles: NDArray[np.int64], targets: tuple[Target, ...]) -> Assignment:
        """Read tiles, given as indices into the grid, into their places."""
        job = ReadTiles(
            job=self._next_job(),
            file=flow.work.file,
            geometry=self._geometry,
            level0_px=flow.grid.level0_px,
            coords=flow.grid.coords[tiles],
            targets=targets,
        )
        return Assignment(job=job, about=flow)

    def illustrate(self, flow: Flow) -> Assignment:
        """Draw what a scan's page shows, with the tiles of most attention."""
        if flow.passes is None:
            raise ValueError("a scan without passes has no attention to show")
        readable = flow.readable
        order = np.argsort(-flow.passes.attention_mean, kind="stable")[:N_TOP_TILES]
        job = Illustrate(
            job=self._next_job(),
            file=flow.work.file,
            geometry=self._geometry,
            grid=flow.grid,
            readable=readable,
            top=tuple(int(tile) for tile in np.flatnonzero(readable)[order]),
        )
        return Assignment(job=job, about=flow)
