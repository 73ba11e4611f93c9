"""Bags of the training and tuning scans, by exactly the way that a scan takes at inference."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import Bag, TileEncoder, bag_provenance, half_features, load_encoder
from pellucid.slides import open_slide, read_tiles
from pellucid.training.config import TrainingConfig
from pellucid.training.errors import ScanUnfit
from pellucid.training.scans import Progress, ScanLeftOut, each_scan
from pellucid.training.survey import SurveyedScan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddedScan:
    """A scan and its bag; `tiles` are the indices `(n_tiles,) int64`, in the scan's grid, of the tiles in the bag."""

    scan: SurveyedScan
    bag: Bag
    tiles: NDArray[np.int64]


def embed_scans(
    scans: Sequence[SurveyedScan],
    spec: EncoderSpec,
    state: Mapping[str, Tensor],
    config: TrainingConfig,
    progress: Progress,
) -> tuple[list[EmbeddedScan], list[ScanLeftOut]]:
    """Embed every readable tile of each scan, rounded to float16.

    Returns:
        One bag a scan, in order, and the scans left out, of which no tile could be read or a feature isn't finite.
    """
    encoders = _EncoderPerThread(spec, state)
    return each_scan(
        scans,
        lambda scan: _embed(scan, encoders.mine()),
        entry_of=lambda scan: scan.entry,
        stage="bags",
        workers=config.workers,
        progress=progress,
    )


class _EncoderPerThread:
    """An encoder owns one batch buffer, so each thread has its own."""

    def __init__(self, spec: EncoderSpec, state: Mapping[str, Tensor]) -> None:
        self._spec, self._state = spec, state
        self._local = threading.local()

    def mine(self) -> TileEncoder:
        encoder: TileEncoder | None = getattr(self._local, "encoder", None)
        if encoder is None:
            encoder = self._local.encoder = load_encoder(self._spec, self._state)
        return encoder


def _embed(scan: SurveyedScan, encoder: TileEncoder) -> EmbeddedScan:
    spec = encoder.spec
    features = np.zeros((len(scan.grid), spec.dim), dtype=np.float16)
    readable = np.zeros(len(scan.grid), dtype=bool)
    entry = scan.entry
    with open_slide(entry.path, mpp=entry.mpp, mpp_detail="cohort table") as slide:
        for batch in read_tiles(slide, scan.grid, batch_size=spec.batch_size, decoding=spec.decoding):
            index = batch.index[batch.readable]
            if len(index):
                features[index] = half_features(encoder.encode(batch.pixels[batch.readable]))
                readable[index] = True
    if not readable.any():
        raise ScanUnfit(f"None of the scan's {len(readable)} tiles can be decoded.")
    provenance = bag_provenance(scan=scan.digest, spec=spec, grid=scan.grid, scale=scan.scale)
    bag = Bag(features=features[readable], coords=scan.grid.coords[readable], provenance=provenance)
    return EmbeddedScan(scan=scan, bag=bag, tiles=np.flatnonzero(readable))
