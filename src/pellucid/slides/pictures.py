"""Thumbnails and overlays; only ever of the scanned tissue area, never of a label or macro image."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import ScanInfo
from pellucid.slides.overview import read_overview, stored_level
from pellucid.slides.protocol import Slide
from pellucid.slides.tissue import DEFAULT_PARAMS, Mask, TissueMap

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Colours that stay apart with any colour vision (Okabe and Ito 2008) and from pink and purple tissue.
_TISSUE: Colour = (0, 158, 115)
_PEN: Colour = (213, 94, 0)
_GOOD: Colour = (0, 158, 115)
_BAD: Colour = (213, 94, 0)
_UNREADABLE: Colour = (0, 0, 0)
_MIN_PICTURE_PX = 640
_MAX_PICTURE_PX = 1024
_MAX_FINER = 4.0
"""How many times finer than a thumbnail the overview of the tissue may be to be used for it: this bounds memory."""


def render_thumbnail(slide: Slide, *, max_px: int = 1024) -> Picture:
    """The whole scan, `(h, w, 3) uint8` RGB; grey where it can't be decoded.

    Its longer side is at most `max_px`, and at least half of that where the scan has so many pixels.
    """
    overview = read_overview(slide, _thumbnail_downsample(slide.info, max_px))
    rgb = overview.rgb.copy()
    rgb[overview.unreadable] = 128
    return _fitted(rgb, max_px)


def draw_tissue(thumbnail: Picture, tissue: TissueMap) -> Picture:
    """The outlines of tissue (green) and ink (orange) on a thumbnail."""
    height, width = thumbnail.shape[:2]
    picture = thumbnail.copy()
    _outline(picture, _scaled(tissue.mask, width, height), _TISSUE)
    _outline(picture, _scaled(tissue.pen, width, height), _PEN)
    return picture


def draw_tiles(
    thumbnail: Picture, info: ScanInfo, grid: TileGrid, readable: NDArray[np.bool_] | None = None
) -> Picture:
    """The grid's tiles on a thumbnail: green outlines, and black with a cross where a tile is unreadable.

    Args:
        thumbnail: `(h, w, 3)`, the whole scan.
        info: the scan.
        grid: its tiles.
        readable: `(n_tiles,)`; all where omitted.
    """
    picture = thumbnail.copy()
    ratio = np.array([thumbnail.shape[1] / info.width, thumbnail.shape[0] / info.height])
    for nth, (x, y) in enumerate(grid.coords.tolist()):
        upper_left, lower_right = _corners(x, y, grid.level0_px, ratio)
        if readable is None or readable[nth]:
            cv2.rectangle(picture, upper_left, lower_right, _GOOD, 1)
        else:
            cv2.rectangle(picture, upper_left, lower_right, _UNREADABLE, 2)
            cv2.line(picture, upper_left, lower_right, _UNREADABLE, 1)
    return picture


def draw_focus(tissue: TissueMap, focus: NDArray[np.float64], level0_px: int, limit: float) -> Picture:
    """The sampled tiles by focus: green outlines in focus, filled orange out of it, black where unreadable.

    Args:
        tissue: the scan's tissue.
        focus: `(n, 3)`, x and y in level-0 pixels and focus, NaN where unreadable.
        level0_px: a tile's edge.
        limit: the least focus that is good.
    """
    picture = _at_picture_size(tissue.rgb)
    ratio = np.array(picture.shape[1::-1]) / (np.array(tissue.rgb.shape[1::-1]) * tissue.downsample)
    for x, y, value in focus:
        upper_left, lower_right = _corners(x, y, level0_px, ratio)
        if np.isnan(value):
            cv2.rectangle(picture, upper_left, lower_right, _UNREADABLE, -1)
        elif value >= limit:
            cv2.rectangle(picture, upper_left, lower_right, _GOOD, 1)
        else:
            inside = picture[upper_left[1] : lower_right[1] + 1, upper_left[0] : lower_right[0] + 1]
            inside[:] = (0.5 * inside + 0.5 * np.array(_BAD)).astype(np.uint8)
    return picture


def draw_pen(tissue: TissueMap) -> Picture:
    """Ink, washed over in orange."""
    return _washed(tissue.rgb, tissue.pen, _PEN)


def draw_stain(tissue: TissueMap, resembling: Mask) -> Picture:
    """Tissue that isn't coloured like H&E, washed over in orange; other tissue is outlined in green."""
    picture = _washed(tissue.rgb, tissue.mask & ~resembling, _BAD)
    height, width = picture.shape[:2]
    _outline(picture, _scaled(tissue.mask, width, height), _TISSUE)
    return picture


def _thumbnail_downsample(info: ScanInfo, max_px: int) -> float:
    """The downsample that costs least to decode among those that are fine enough for a thumbnail."""
    finest = max(info.width, info.height) / max_px
    reduced = min((step for step in info.level_downsamples if step > 1.0), default=finest)
    if finest < reduced <= 2.0 * finest:
        return reduced  # a somewhat smaller picture, rather than all of level 0
    if info.scale is None:
        return finest
    tissue = DEFAULT_PARAMS.mpp / info.scale.mpp
    levels = info.level_downsamples
    is_near = finest / _MAX_FINER <= tissue <= finest
    shared = is_near and stored_level(levels, tissue) == stored_level(levels, finest)
    return tissue if shared else finest


def _corners(x: float, y: float, edge: int, ratio: NDArray[np.float64]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The pixels at the upper left and lower right of a tile."""
    first = np.round(np.array([x, y]) * ratio).astype(int)
    last = np.round(np.array([x + edge, y + edge]) * ratio).astype(int) - 1
    return (int(first[0]), int(first[1])), (int(last[0]), int(last[1]))


def _washed(rgb: Picture, mask: Mask, colour: Colour) -> Picture:
    picture = rgb.copy()
    picture[mask] = (0.4 * picture[mask] + 0.6 * np.array(colour)).astype(np.uint8)
    return _at_picture_size(picture)


def _outline(picture: Picture, mask: Mask, colour: Colour) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, max(1, max(picture.shape[:2]) // 400))


def _scaled(mask: Mask, width: int, height: int) -> Mask:
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool))


def _at_picture_size(rgb: Picture) -> Picture:
    """Small overviews enlarged by a whole factor, large ones reduced."""
    factor = _MIN_PICTURE_PX // max(rgb.shape[:2])
    if factor < 2:
        return _fitted(rgb, _MAX_PICTURE_PX)
    return np.ascontiguousarray(rgb.repeat(factor, axis=0).repeat(factor, axis=1))


def _fitted(rgb: Picture, max_px: int) -> Picture:
    height, width = rgb.shape[:2]
    if max(height, width) <= max_px:
        return rgb.copy()
    ratio = max_px / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
