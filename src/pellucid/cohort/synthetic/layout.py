"""Where a synthetic section has tissue, tumour, airspaces and lymphoid follicles, on a grid of 8 um."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.kinds import ScanKind
from pellucid.cohort.synthetic.noise import Field, smooth_field
from pellucid.cohort.synthetic.plan import ScanPlan

CELL_UM = 8
"""Edge of a cell of the layout, and of a pixel of the truth, in um."""

Mask = NDArray[np.bool_]

_TUMOUR_SHARE = {ScanKind.TUMOUR_FREE: 0.0, ScanKind.NEARLY_EMPTY: 0.8}
"""The share of tissue that is planted with tumour, where the kind of scan decides it."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """A section's compartments, each `(rows, columns)` on cells of 8 um.

    `outline` is positive inside the section and falls to 0 at its edge. `tumour` is where tumour is planted,
    `glandular` where it takes the architecture of a mutated tumour, `foreign` where that of a foreign one.
    `alveolar` and `lymphoid` lie outside tumour.
    """

    outline: Field
    tumour: Mask
    glandular: Mask
    foreign: Mask
    alveolar: Mask
    lymphoid: Mask

    @property
    def tissue(self) -> Mask:
        """Cells inside the section."""
        return np.asarray(self.outline > 0)


def lay_out(plan: ScanPlan, draw: np.random.Generator) -> Layout:
    """Draw the compartments of one glass slide.

    The glandular share of the tumour's area is `(1 + lean) / 2`, kept within 0.04-0.96, so that the signal is planted
    as exactly as the texture allows.
    """
    cells = int(np.ceil(plan.side_px * plan.mpp / CELL_UM))
    outline = _outline(plan, draw, cells)
    tissue = outline > 0
    share = _TUMOUR_SHARE.get(plan.kind, float(draw.uniform(0.2, 0.72)))
    is_foreign = plan.kind is ScanKind.FOREIGN
    if is_foreign:
        # most of the tissue, so that nothing else decides what the slide looks like
        share = 0.55 + 0.5 * share
    tumour = _upper_share(smooth_field(draw, cells, cells, 52), tissue & (outline > 0.03), share)
    glandular = _upper_share(
        smooth_field(draw, cells, cells, 30), tumour, float(np.clip((1.0 + plan.lean) / 2.0, 0.04, 0.96))
    )
    around = cv2.dilate(tumour.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    rest = tissue & ~around
    airy = 0.0 if plan.kind is ScanKind.NEARLY_EMPTY else float(draw.uniform(0.35, 0.75))
    alveolar = _upper_share(smooth_field(draw, cells, cells, 40), rest, airy)
    return Layout(
        outline=outline,
        tumour=tumour,
        glandular=glandular & (not is_foreign),
        foreign=tumour & is_foreign,
        alveolar=alveolar,
        lymphoid=_follicles(draw, rest & ~alveolar),
    )


def _upper_share(field: Field, within: Mask, share: float) -> Mask:
    """The cells of `within` whose field is highest, `share` of them."""
    if share <= 0.0 or not within.any():
        return np.zeros_like(within)
    return np.asarray(within & (field >= np.quantile(field[within], 1.0 - share)))


def _outline(plan: ScanPlan, draw: np.random.Generator, cells: int) -> Field:
    axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells * 2.0 - 1.0
    x, y = (np.asarray(grid, np.float32) for grid in np.meshgrid(axis, axis))
    if plan.kind is ScanKind.NEARLY_EMPTY:
        shape = _crumb(draw, x, y, cells)
    elif plan.specimen_type == "biopsy":
        shape = _cores(draw, x, y)
    else:
        shape = _wedge(draw, x, y)
    uneven = 0.10 * smooth_field(draw, cells, cells, 40) + 0.035 * smooth_field(draw, cells, cells, 9)
    rough = 0.012 * smooth_field(draw, cells, cells, 3)
    scale = 0.3 if plan.specimen_type == "biopsy" or plan.kind is ScanKind.NEARLY_EMPTY else 1.0
    border = np.minimum(1.0 - np.abs(x), 1.0 - np.abs(y)) - 0.04
    return np.minimum(shape + scale * uneven + rough, border).astype(np.float32)


def _wedge(draw: np.random.Generator, x: Field, y: Field) -> Field:
    """A section of a resection: a rounded block."""
    turn = draw.uniform(0.0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    a, b = draw.uniform(0.70, 0.88, 2)
    power = draw.uniform(2.0, 3.5)
    return np.asarray(1.0 - (np.abs(u / a) ** power + np.abs(v / b) ** power) ** (1.0 / power), dtype=np.float32)


def _cores(draw: np.random.Generator, x: Field, y: Field) -> Field:
    """Needle cores: three bent strips side by side."""
    turn = draw.uniform(-0.25, 0.25) + (np.pi / 2 if draw.random() < 0.5 else 0.0)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    strips = []
    for middle in (-0.53, 0.0, 0.53):
        bend = draw.uniform(-0.08, 0.08) * np.cos(u * draw.uniform(1.5, 3.0)) + draw.uniform(-0.04, 0.04)
        half, reach = draw.uniform(0.17, 0.22), draw.uniform(0.60, 0.80)
        strips.append(
            np.minimum(half - np.abs(v - middle - bend), 0.6 * (reach - np.abs(u - draw.uniform(-0.06, 0.06))))
        )
    return np.asarray(np.maximum.reduce(strips), dtype=np.float32)


def _crumb(draw: np.random.Generator, x: Field, y: Field, cells: int) -> Field:
    """A fragment of 0.2 to 0.3 mm on an otherwise empty slide."""
    radius = draw.uniform(100.0, 150.0) / (cells * CELL_UM / 2.0)
    left, top = draw.uniform(-0.5, 0.5, 2)
    return np.asarray(radius - np.hypot(x - left, 1.3 * (y - top)), dtype=np.float32)


def _follicles(draw: np.random.Generator, within: Mask) -> Mask:
    """Up to three lymphoid follicles of 100 to 240 um."""
    found = np.zeros(within.shape, np.uint8)
    candidates = np.argwhere(within)
    for _ in range(int(draw.integers(0, 4)) if len(candidates) else 0):
        row, column = candidates[draw.integers(len(candidates))].tolist()
        axes = draw.integers(6, 16, 2).tolist()
        cv2.ellipse(found, (column, row), axes, float(draw.uniform(0, 180)), 0, 360, 1, -1)
    return np.asarray((found > 0) & within)
