"""Draw and write one planned scan and its truth."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.artefacts import defocus, draw_pen, spoil_tiles, truncate
from pellucid.cohort.synthetic.kinds import MARK, ScanKind
from pellucid.cohort.synthetic.layout import lay_out
from pellucid.cohort.synthetic.plan import ScanPlan
from pellucid.cohort.synthetic.stain import SCANNER_PROFILES, expose
from pellucid.cohort.synthetic.tiff import ScanHeader, pyramid, write_scan
from pellucid.cohort.synthetic.tissue import GLASS, TUMOUR, Section, paint_section
from pellucid.core.seeds import generator

_THUMBNAIL_PX = 768


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DrawnScan:
    """A scan's picture `(side, side, 3) uint8` and truth `(rows, columns) uint8` at 8 um a pixel."""

    picture: NDArray[np.uint8]
    truth: NDArray[np.uint8]

    @property
    def tumour_fraction(self) -> float:
        """The share of the tissue that is tumour, 0..1."""
        tissue = int(np.count_nonzero(self.truth != GLASS))
        return int(np.count_nonzero(self.truth == TUMOUR)) / max(tissue, 1)


def draw_scan(plan: ScanPlan, seed: int) -> DrawnScan:
    """Draw a planned scan; a pure function of both arguments.

    Two scans of one glass slide share the section and differ by scanner and by noise.
    """
    cv2.setNumThreads(1)
    px_per_um = round(1.0 / plan.mpp)
    section = _section(plan, seed, px_per_um)
    draw = generator("synthetic exposure", seed, plan.name)
    immunostained = plan.kind is ScanKind.IMMUNOSTAINED
    picture = expose(section, SCANNER_PROFILES[plan.scanner], draw, immunostained=immunostained)
    if plan.kind is ScanKind.BLURRED:
        picture = defocus(picture, draw, px_per_um)
    elif plan.kind is ScanKind.PENNED:
        picture = draw_pen(picture, section.truth, draw)
    return DrawnScan(picture, section.truth)


def _section(plan: ScanPlan, seed: int, px_per_um: int) -> Section:
    draw = generator("synthetic section", seed, plan.layout)
    return paint_section(lay_out(plan, draw), plan.side_px, px_per_um, draw)


def write_drawn(drawn: DrawnScan, plan: ScanPlan, path: Path) -> None:
    """Write a drawn scan as its plan says: format, header, and what is wrong with the file."""
    quality = SCANNER_PROFILES[plan.scanner].jpeg_quality
    corrupt = plan.kind in (ScanKind.CORRUPT_TILE, ScanKind.CORRUPT_TILES)
    many = plan.kind is ScanKind.CORRUPT_TILES
    levels = pyramid(drawn.picture, quality, (lambda tiles: spoil_tiles(tiles, many=many)) if corrupt else None)
    thumbnail = cv2.resize(drawn.picture, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    write_scan(path, levels, np.asarray(thumbnail), _header(plan, quality))
    if plan.kind is ScanKind.TRUNCATED:
        truncate(path, 0.6)


def _header(plan: ScanPlan, quality: int) -> ScanHeader:
    unscaled = plan.kind is ScanKind.SCALE_MISSING
    objective = 10.0 / plan.mpp * (2.0 if plan.kind is ScanKind.MIS_SCALED else 1.0)
    return ScanHeader(
        title=f"{MARK} {plan.name}",
        scanner=plan.scanner,
        mpp=None if unscaled else plan.mpp,
        objective=None if unscaled else objective,
        quality=quality,
        label_page=plan.label_page,
        generic=plan.generic_tiff,
    )
