"""What a scan leaves on disk beside the database: pictures, attention, and its bag where bags are kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_bytes, digest_file
from pellucid.core.files import storage_errors, write_bytes
from pellucid.pipeline.errors import OutputUnusable
from pellucid.pipeline.scan import ScoredScan
from pellucid.slides import require_scale

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

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


def write_pictures(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> dict[Path, str]:
    """Write RGB arrays as PNG files `<name>.png`; returns the SHA-256 of each by its path."""
    digests = {}
    for name, pixels in pictures.items():
        data = encode_png(pixels)
        write_bytes(folder / f"{name}.png", data)
        digests[folder / f"{name}.png"] = digest_bytes(data)
    return digests


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of an RGB array `(height, width, 3) uint8`."""
    import cv2

    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 4])
    return bytes(data)


def write_attention(path: Path, result: ScoredScan) -> None:
    """Each read tile's place, mean attention and its sd over the passes, as safetensors."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {
        "coords": result.grid.coords,
        "attention_mean": result.attention_mean,
        "attention_sd": result.attention_sd,
        "level0_px": np.array([result.grid.level0_px], np.int32),
    }
    write_bytes(path, save(arrays))


def write_artefacts(folder: Path, result: ScoredScan) -> dict[str, str]:
    """Write a scan's pictures and attention into `folder`; returns the SHA-256 of each file by its name."""
    digests = {path.name: digest for path, digest in write_pictures(folder, result.pictures).items()}
    attention = folder / ATTENTION
    write_attention(attention, result)
    return digests | {ATTENTION: digest_file(attention)}


def write_bag_of(folder: Path, result: ScoredScan, *, scan: str, bundle: "Bundle") -> Path:
    """Keep a scan's features as `<scan>-<encoder>.bag.safetensors` in `folder`."""
    from pellucid.encoders.bag import BAG_SUFFIX, Bag, bag_provenance, write_bag

    path = folder / f"{scan[:16]}-{bundle.spec.digest[:8]}{BAG_SUFFIX}"
    provenance = bag_provenance(scan=scan, spec=bundle.spec, grid=result.grid, scale=require_scale(result.info))
    write_bag(path, Bag(features=result.features, coords=result.grid.coords, provenance=provenance))
    return path
