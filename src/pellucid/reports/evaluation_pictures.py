"""Pictures of the worst cases as data URIs, small enough for one page to hold them all."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_file
from pellucid.evaluation.worst import ScanPictures, WorstCase
from pellucid.reports.heatmap import render_heatmap, render_icon
from pellucid.reports.pages import local_url

MAX_PX = 420
MAX_BYTES = 3_500_000
"""All embedded pictures together, as text; what comes after is left out."""
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedScan:
    """A scan's thumbnail and its attention as a transparent overlay of the same size, both as data URIs.

    `high` is what the overlay's lightest colour stands for, in multiples of an even share of `n_tiles` tiles.
    """

    thumbnail: str
    overlay: str
    width: int
    height: int
    high: float
    n_tiles: int

    @property
    def n_bytes(self) -> int:
        """What the scan adds to the page."""
        return 2 * len(self.thumbnail) + len(self.overlay)


def embed_pictures(folder: Path, cases: Iterable[WorstCase]) -> dict[str, tuple[EmbeddedScan, ...]]:
    """The pictures of each case by its pseudonym; a case without, or past the page's limit, has none.

    Pictures that are gone or not as they were recorded are left out.

    Raises:
        PicturePathInvalid: a recorded path leads out of `folder`.
    """
    left = MAX_BYTES
    embedded: dict[str, tuple[EmbeddedScan, ...]] = {}
    for case in cases:
        scans = tuple(scan for pictures in case.pictures if (scan := _embed(folder, pictures)) is not None)
        needed = sum(scan.n_bytes for scan in scans)
        embedded[case.pseudonym] = scans if needed <= left else ()
        left -= needed if needed <= left else 0
    return embedded


def _embed(folder: Path, pictures: ScanPictures) -> EmbeddedScan | None:
    from safetensors.numpy import load_file

    thumbnail, attention = (
        _intact(folder, path, digest)
        for path, digest in (
            (pictures.thumbnail, pictures.thumbnail_digest),
            (pictures.attention, pictures.attention_digest),
        )
    )
    if thumbnail is None or attention is None:
        return None
    small = render_icon(_pixels(thumbnail), max_px=MAX_PX)
    arrays = load_file(attention)
    heat = render_heatmap(
        small,
        arrays["coords"],
        int(arrays["level0_px"][0]),
        pictures.width,
        pictures.height,
        arrays["attention_mean"],
    )
    return EmbeddedScan(
        thumbnail=_data_uri(small, "JPEG"),
        overlay=_data_uri(heat.overlay, "PNG"),
        width=small.shape[1],
        height=small.shape[0],
        high=heat.legend.high,
        n_tiles=heat.legend.n_tiles,
    )


def _intact(folder: Path, path: str, digest: str) -> Path | None:
    local_url(path)
    file = folder / path
    return file if file.is_file() and digest_file(file) == digest else None


def _pixels(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def _data_uri(image: NDArray[np.uint8], kind: str) -> str:
    from PIL import Image

    written = io.BytesIO()
    options = {"quality": _JPEG_QUALITY, "optimize": True} if kind == "JPEG" else {"optimize": True}
    Image.fromarray(image).save(written, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode()}"
