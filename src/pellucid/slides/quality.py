"""How good a scan is: numbers with limits, pictures, and what monitoring follows."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.core.digests import digest_json
from pellucid.core.serial import to_plain
from pellucid.domain.grid import TileGrid
from pellucid.domain.quality import Quality, QualityMeasure, Sense
from pellucid.domain.reasons import Reason
from pellucid.slides.focus import IN_FOCUS, measure_focus
from pellucid.slides.grid import tile_shares
from pellucid.slides.pictures import draw_focus, draw_pen, draw_stain
from pellucid.slides.protocol import Slide
from pellucid.slides.stain import hue_angle, optical_density, resembles_he, separate_stains
from pellucid.slides.tiles import read_tiles
from pellucid.slides.tissue import Mask, TissueMap

_BATCH = 8
_MIN_DENSITY = 0.15
_PEN_BRIDGE_UM = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLimits:
    """What a scan must keep to be answered from; shares are 0 to 1.

    `min_in_focus` is of the sampled tiles, `max_pen` and `min_he` of the tissue, `max_unreadable` of the tissue tiles.
    `n_focus_tiles` tiles are sampled, evenly over the grid's tiles without ink.
    """

    min_tissue_mm2: float = 0.2
    min_in_focus: float = 0.7
    max_pen: float = 0.1
    min_he: float = 0.6
    max_unreadable: float = 0.05
    n_focus_tiles: int = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityReport:
    """A scan's quality: measures, numbers for monitoring, and pictures `(h, w, 3) uint8` RGB by name.

    `features` holds only what could be measured.
    """

    quality: Quality
    features: dict[str, float]
    pictures: dict[str, NDArray[np.uint8]]


_DEFAULT = QualityLimits()


def quality_limits_digest() -> str:
    """SHA-256 of the canonical JSON of the limits in force."""
    return digest_json(to_plain(_DEFAULT))


def assess_quality(slide: Slide, tissue: TissueMap, grid: TileGrid, limits: QualityLimits = _DEFAULT) -> QualityReport:
    """Measure tissue, ink, stain and focus of a scan.

    Unreadable tiles are known only once all are read: `unreadable_measure` makes that measure.

    Args:
        slide: the slide.
        tissue: its tissue.
        grid: its tiles.
        limits: what must be kept.
    """
    focus = _measure_focus(slide, _sample(grid, tissue, limits.n_focus_tiles))
    seen = focus[~np.isnan(focus[:, 2]), 2]
    density = optical_density(tissue.rgb[tissue.mask], tissue.glass)
    stained = density[density.sum(axis=1) > _MIN_DENSITY]
    he_share = float(resembles_he(stained).mean()) if len(stained) else None
    in_focus = float((seen >= IN_FOCUS).mean()) if len(seen) else None
    pen_share = share_of_pen(tissue)
    measures = (
        _at_least("tissue", "Tissue", tissue.area_mm2, "mm²", limits.min_tissue_mm2, Reason.TOO_LITTLE_TISSUE),
        _at_least("focus", "Tiles in focus (share)", in_focus, "", limits.min_in_focus, Reason.POOR_FOCUS),
        _at_most("pen", "Tissue under pen (share)", pen_share, limits.max_pen, Reason.ARTEFACT),
        _at_least("stain", "Coloured like H&E (share of tissue)", he_share, "", limits.min_he, Reason.OUT_OF_SCOPE),
    )
    features = {"tissue_mm2": tissue.area_mm2, "tissue_share": float(tissue.mask.mean()), "pen_share": pen_share}
    features |= _colour_features(tissue, stained)
    if he_share is not None:
        features["he_share"] = he_share
    if in_focus is not None:
        features |= {"focus_median": float(np.median(seen)), "focus_share": in_focus}
    pictures = {
        "focus": draw_focus(tissue, focus, grid.level0_px, IN_FOCUS),
        "pen": draw_pen(tissue),
        "stain": draw_stain(tissue, _resembling(tissue)),
    }
    return QualityReport(quality=Quality(measures=measures), features=features, pictures=pictures)


def unreadable_measure(n_unreadable: int, n_tiles: int, limits: QualityLimits = _DEFAULT) -> QualityMeasure:
    """The measure of tiles that couldn't be decoded, once all were read; not measurable where there is no tile."""
    share = n_unreadable / n_tiles if n_tiles else None
    return _at_most(
        "unreadable", "Unreadable tissue tiles (share)", share, limits.max_unreadable, Reason.UNREADABLE_TILES
    )


def share_of_pen(tissue: TissueMap) -> float:
    """The share of the tissue that lies under ink: under strokes with tissue on both sides within 300 um.

    A line drawn around tissue counts little, a stroke across it counts whole. Where there is ink and no tissue, 1.
    """
    if not tissue.pen.any():
        return 0.0
    if not tissue.mask.any():
        return 1.0
    reach = _PEN_BRIDGE_UM / float((tissue.mpp[0] * tissue.mpp[1]) ** 0.5)
    under = int(np.count_nonzero(tissue.pen & _closed(tissue.mask, reach)))
    return under / (under + int(np.count_nonzero(tissue.mask)))


def _closed(mask: Mask, reach: float) -> Mask:
    """Morphological closing by a disc of any size, through distances; beyond the image there is nothing."""
    pad = int(np.ceil(reach)) + 1
    wide = np.pad(mask, pad)
    grown = _distance(~wide) <= reach
    return np.asarray((_distance(grown) > reach)[pad:-pad, pad:-pad])


def _distance(mask: Mask) -> NDArray[np.float32]:
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _sample(grid: TileGrid, tissue: TissueMap, n_wanted: int) -> TileGrid:
    """Tiles spread evenly over the grid, from those without ink where there are any: a stroke's edge hides detail."""
    clean = np.flatnonzero(tile_shares(tissue.pen, tissue, grid) == 0.0)
    among = clean if len(clean) else np.arange(len(grid))
    places = np.linspace(0, max(len(among) - 1, 0), min(len(among), n_wanted)).round().astype(np.int64)
    chosen = among[places]
    return replace(grid, coords=grid.coords[chosen], tissue_fraction=grid.tissue_fraction[chosen])


def _measure_focus(slide: Slide, sample: TileGrid) -> NDArray[np.float64]:
    """x, y and focus of each tile, `(n, 3)`; NaN where a tile can't be read."""
    focus = np.full((len(sample), 3), np.nan)
    focus[:, :2] = sample.coords
    for batch in read_tiles(slide, sample, batch_size=_BATCH):
        for index, pixels, readable in zip(batch.index, batch.pixels, batch.readable, strict=True):
            if readable:
                focus[index, 2] = measure_focus(pixels, sample.mpp)
    return focus


def _resembling(tissue: TissueMap) -> Mask:
    mask = tissue.mask.copy()
    density = optical_density(tissue.rgb[tissue.mask], tissue.glass)
    mask[tissue.mask] = resembles_he(density)
    return mask


def _colour_features(tissue: TissueMap, stained: NDArray[np.float32]) -> dict[str, float]:
    features = {f"glass_{name}": float(value) for name, value in zip(("r", "g", "b"), tissue.glass, strict=True)}
    if not len(stained):
        return features
    pixels = tissue.rgb[tissue.mask].astype(np.float32)
    amounts = separate_stains(stained).mean(axis=0)
    low, high = np.percentile(hue_angle(stained), (5, 95))
    brightest, darkest = pixels.max(axis=1), pixels.min(axis=1)
    return features | {
        "brightness": float(pixels.mean() / 255.0),
        "saturation": float(((brightest - darkest) / np.maximum(brightest, 1.0)).mean()),
        "haematoxylin_od": float(amounts[0]),
        "eosin_od": float(amounts[1]),
        "stain_angle_p05_deg": float(low),
        "stain_angle_p95_deg": float(high),
    }


def _at_least(name: str, label: str, value: float | None, unit: str, limit: float, reason: Reason) -> QualityMeasure:
    return QualityMeasure(
        name=name, label=label, value=value, unit=unit, limit=limit, sense=Sense.AT_LEAST, reason=reason
    )


def _at_most(name: str, label: str, value: float | None, limit: float, reason: Reason) -> QualityMeasure:
    return QualityMeasure(name=name, label=label, value=value, unit="", limit=limit, sense=Sense.AT_MOST, reason=reason)
