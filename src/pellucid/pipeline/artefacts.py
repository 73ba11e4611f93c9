"""What a scan leaves on disk beside the database: pictures, attention, and its bag where bags are kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_bytes
from pellucid.core.files import storage_errors, write_bytes
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.engine.ledger import Answer
from pellucid.engine.messages import Sampled
from pellucid.pipeline.errors import OutputUnusable
from pellucid.slides import require_scale

ATTENTION = "attention.safetensors"


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Within the block, an error of the system is one of the output folder.

    Raises:
        StorageFull: no space is left.
        OutputUnusable: any other reason, such as a share that went away.
    """
    try:
        with storage_errors(out):
            yield
    except OSError as error:
        raise OutputUnusable(f"{out} can't be written to: {error.strerror}.") from error


def write_pictures(folder: Path, pictures: Mapping[str, bytes]) -> dict[str, str]:
    """Write PNG files as `<name>.png`; returns the SHA-256 of each by its file name."""
    for name, data in pictures.items():
        write_bytes(folder / f"{name}.png", data)
    return {f"{name}.png": digest_bytes(data) for name, data in pictures.items()}


def write_attention(path: Path, grid: TileGrid, passes: Sampled) -> str:
    """Each read tile's place, mean attention with its sd over the passes, and probability of tumour; its SHA-256."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {
        "coords": grid.coords,
        "attention_mean": passes.attention_mean,
        "attention_sd": passes.attention_sd,
        "level0_px": np.array([grid.level0_px], np.int32),
    }
    if passes.tumour is not None:
        arrays["tumour"] = passes.tumour
    data = save(arrays)
    write_bytes(path, data)
    return digest_bytes(data)


def write_bag_of(folder: Path, answer: Answer, *, scan: str, key: str, spec: EncoderSpec) -> Path:
    """Keep a scan's features as `<scan>-<encoder>-<task>.bag.safetensors` in `folder`.

    The task's key is in the name, so that the bags of two scales of one scan don't overwrite each other.
    """
    from pellucid.encoders.bag import BAG_SUFFIX, Bag, bag_provenance, write_bag
    from pellucid.engine.checkpoint import read_checkpoint

    path = folder / f"{scan[:16]}-{spec.digest[:8]}-{key[:8]}{BAG_SUFFIX}"
    features, _ = read_checkpoint(answer.embeddings)
    provenance = bag_provenance(scan=scan, spec=spec, grid=answer.grid, scale=require_scale(answer.seen.info))
    write_bag(path, Bag(features=features, coords=answer.grid.coords, provenance=provenance))
    return path
