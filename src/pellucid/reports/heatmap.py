"""Attention as a picture that lies exactly on the thumbnail."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.core.files import atomic_path
from pellucid.reports.errors import HeatmapInvalid
from pellucid.reports.views import HeatmapLegend

CLIP = 0.99
"""Share of tiles below the lightest colour, so that one extreme tile does not darken all others."""
LEAST_HIGH = 2.0
"""The lightest colour never stands for less than twice an even share: even attention must look even."""
LEAST_HIGH_SD = 1.0
_SUM_TOLERANCE = 0.01
_QUANTILES = (0.0, 0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatmapImage:
    """An overlay and the numbers of its legend.

    `overlay` is `(h, w, 4) uint8` RGBA of the thumbnail's size: opaque on tiles, fully transparent elsewhere.
    """

    overlay: NDArray[np.uint8]
    legend: HeatmapLegend


@functools.cache
def cividis() -> NDArray[np.uint8]:
    """The colour map cividis as `(256, 3) uint8` RGB, from OpenCV's table.

    It rises evenly in lightness and reads alike with and without colour vision deficiency (Nuñez, Anderton and
    Renslow, PLoS ONE 13:e0199239, 2018).
    """
    import cv2

    steps = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    table = np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_CIVIDIS)[:, 0, ::-1], np.uint8)
    table.setflags(write=False)
    return table


def palette_stops(n: int = 9) -> tuple[str, ...]:
    """`n` evenly spaced colours of the map as `#rrggbb`, for a legend's gradient."""
    rows = np.linspace(0, 255, n).round().astype(int)
    return tuple("#{:02x}{:02x}{:02x}".format(*cividis()[row]) for row in rows)


def render_heatmap(
    thumbnail: NDArray[np.uint8],
    coords: NDArray[np.int32],
    level0_px: int,
    width: int,
    height: int,
    attention: NDArray[np.float32],
) -> HeatmapImage:
    """Attention in multiples of an even share (1 / n), with sharp tile borders at their true place.

    Args:
        thumbnail: `(h, w, 3) uint8`, the picture that the overlay will lie on.
        coords: `(n, 2) int32`, upper left corner (x, y) of each tile in level-0 pixels.
        level0_px: a tile's edge in level-0 pixels.
        width: the scan's width in level-0 pixels.
        height: the scan's height in level-0 pixels.
        attention: `(n,) float32`, weights that are not negative and sum to one.

    Raises:
        HeatmapInvalid: shapes don't fit, or the weights are not finite, negative, or don't sum to one.
    """
    _check(thumbnail, coords, level0_px, width, height, attention)
    total = float(np.sum(attention, dtype=np.float64))
    if len(attention) and abs(total - 1) > _SUM_TOLERANCE:
        raise HeatmapInvalid(f"The attention of {len(attention)} tiles sums to {total:.4g}, not to one.")
    return _draw(thumbnail, coords, level0_px, width, height, attention, LEAST_HIGH)


def render_attention_sd(
    thumbnail: NDArray[np.uint8],
    coords: NDArray[np.int32],
    level0_px: int,
    width: int,
    height: int,
    attention_sd: NDArray[np.float32],
) -> HeatmapImage:
    """The standard deviation of attention over the passes, in multiples of an even share; else as `render_heatmap`.

    Raises:
        HeatmapInvalid: shapes don't fit, or a value is negative or not finite.
    """
    _check(thumbnail, coords, level0_px, width, height, attention_sd)
    return _draw(thumbnail, coords, level0_px, width, height, attention_sd, LEAST_HIGH_SD)


def render_icon(thumbnail: NDArray[np.uint8], *, max_px: int = 160) -> NDArray[np.uint8]:
    """A thumbnail `(h, w, 3) uint8` made so small that neither side exceeds `max_px`; a smaller one as it is."""
    import cv2

    height, width = thumbnail.shape[:2]
    scale = max_px / max(height, width)
    if scale >= 1:
        return thumbnail
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(thumbnail, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_png(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write `(h, w, 3)` RGB or `(h, w, 4)` RGBA as a PNG, whole or not at all, and return `path`."""
    from PIL import Image

    with atomic_path(path) as part:
        Image.fromarray(image).save(part, format="PNG", optimize=True)
    return path


def _check(
    thumbnail: NDArray[np.uint8],
    coords: NDArray[np.int32],
    level0_px: int,
    width: int,
    height: int,
    values: NDArray[np.float32],
) -> None:
    if coords.shape != (len(values), 2) or values.ndim != 1:
        raise HeatmapInvalid(f"{values.shape} attention values don't fit coordinates of shape {coords.shape}.")
    if thumbnail.ndim != 3 or 0 in thumbnail.shape or min(level0_px, width, height) < 1:
        raise HeatmapInvalid(
            f"A thumbnail of shape {thumbnail.shape}, a scan of {width} x {height} px and tiles of {level0_px} px "
            "have no common geometry."
        )
    bad = int(np.count_nonzero(~np.isfinite(values) | (values < 0)))
    if bad:
        raise HeatmapInvalid(f"{bad} of {len(values)} attention values are negative or not finite.")


def _draw(
    thumbnail: NDArray[np.uint8],
    coords: NDArray[np.int32],
    level0_px: int,
    width: int,
    height: int,
    values: NDArray[np.float32],
    least_high: float,
) -> HeatmapImage:
    multiples = values.astype(np.float64) * len(values)
    high = max(float(np.quantile(multiples, CLIP)), least_high) if len(values) else least_high
    levels = np.minimum(multiples / high, 1.0)
    colours = cividis()[np.rint(255 * levels).astype(np.uint8)]
    rows, columns = thumbnail.shape[:2]
    left, right = _pixel_span(coords[:, 0], level0_px, columns / width, columns)
    top, bottom = _pixel_span(coords[:, 1], level0_px, rows / height, rows)
    overlay = np.zeros((rows, columns, 4), np.uint8)
    for x0, x1, y0, y1, colour in zip(left, right, top, bottom, colours, strict=True):
        overlay[y0:y1, x0:x1, :3] = colour
        overlay[y0:y1, x0:x1, 3] = 255
    legend = HeatmapLegend(
        low=0.0,
        high=high,
        n_tiles=len(values),
        n_clipped=int(np.count_nonzero(multiples > high)),
        quantiles=tuple((share, float(np.quantile(multiples, share))) for share in _QUANTILES) if len(values) else (),
    )
    return HeatmapImage(overlay=overlay, legend=legend)


def _pixel_span(
    start: NDArray[np.int32], length: int, scale: float, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last-plus-one pixel whose centre lies on each tile: neighbours neither overlap nor leave a gap."""
    first = np.ceil(start.astype(np.float64) * scale - 0.5).astype(np.int64)
    end = np.ceil((start.astype(np.float64) + length) * scale - 0.5).astype(np.int64)
    return np.clip(first, 0, limit), np.clip(end, 0, limit)
