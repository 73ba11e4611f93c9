"""Bags of the training and tuning scans, by exactly the way that a scan takes at inference."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pellucid.core.errors import PellucidError
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import (
    BAG_SUFFIX,
    Bag,
    TileEncoder,
    bag_provenance,
    half_features,
    load_encoder,
    write_bag,
)
from pellucid.slides import open_slide, read_tiles
from pellucid.training.config import TrainingConfig
from pellucid.training.errors import ScanUnfit
from pellucid.training.scans import Progress, ScanLeftOut, each_scan
from pellucid.training.stored_bag import describe_bag, map_bag
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
    *,
    folder: Path | None = None,
    device: str = "cpu",
) -> tuple[list[EmbeddedScan], list[ScanLeftOut]]:
    """Embed every readable tile of each scan, rounded to float16.

    Args:
        scans: what to embed.
        spec: the encoder's spec.
        state: its weights.
        config: how many threads read and encode.
        progress: told after each scan.
        folder: where each bag is kept as soon as it is made; one that is there, of the same scan, grid and encoder, is
            not made again.
        device: where the encoder runs.

    Returns:
        One bag a scan, in order, and the scans left out, of which no tile could be read or a feature isn't finite.
    """
    encoders = _EncoderPerThread(spec, state, device)
    return each_scan(
        scans,
        lambda scan: _kept(scan, spec, folder) or _keep(_embed(scan, encoders.mine()), folder),
        entry_of=lambda scan: scan.entry,
        stage="bags",
        workers=config.workers,
        progress=progress,
    )


def _kept(scan: SurveyedScan, spec: EncoderSpec, folder: Path | None) -> EmbeddedScan | None:
    """The scan's bag as an earlier start made it; a damaged one, or another encoder's, is made again."""
    if folder is None or not (path := _place(folder, scan)).exists():
        return None
    try:
        bag = map_bag(describe_bag(path))
    except PellucidError:
        return None
    if bag.provenance != _provenance(scan, spec):
        return None
    index = {(x, y): nth for nth, (x, y) in enumerate(scan.grid.coords.tolist())}
    tiles = np.array([index[x, y] for x, y in bag.coords.tolist()], dtype=np.int64)
    return EmbeddedScan(scan=scan, bag=bag, tiles=tiles)


def _keep(item: EmbeddedScan, folder: Path | None) -> EmbeddedScan:
    """Write the bag, and give the one on disk in its place: all bags of a large cohort don't fit into memory."""
    if folder is None:
        return item
    path = _place(folder, item.scan)
    write_bag(path, item.bag)
    return replace(item, bag=map_bag(describe_bag(path)))


def _place(folder: Path, scan: SurveyedScan) -> Path:
    return folder / f"{scan.digest}{BAG_SUFFIX}"


def _provenance(scan: SurveyedScan, spec: EncoderSpec) -> dict[str, str]:
    return bag_provenance(scan=scan.digest, spec=spec, grid=scan.grid, scale=scan.scale)


class _EncoderPerThread:
    """An encoder owns one batch buffer, so each thread has its own."""

    def __init__(self, spec: EncoderSpec, state: Mapping[str, Tensor], device: str) -> None:
        self._spec, self._state, self._device = spec, state, device
        self._local = threading.local()

    def mine(self) -> TileEncoder:
        encoder: TileEncoder | None = getattr(self._local, "encoder", None)
        if encoder is None:
            encoder = self._local.encoder = load_encoder(self._spec, self._state, device=self._device)
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
    bag = Bag(
        features=features[readable], coords=scan.grid.coords[readable], provenance=_provenance(scan, encoder.spec)
    )
    return EmbeddedScan(scan=scan, bag=bag, tiles=np.flatnonzero(readable))
