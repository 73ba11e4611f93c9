"""Paint a section: a layout becomes maps of haematoxylin and eosin density at full resolution."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic import architecture
from pellucid.cohort.synthetic.canvas import Canvas, Part
from pellucid.cohort.synthetic.layout import CELL_UM, Layout
from pellucid.cohort.synthetic.noise import Grey, fibres, granules, smooth_field, tiled

GLASS, TISSUE, TUMOUR = 0, 1, 2
"""Values of a truth mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A painted section.

    `haematoxylin` and `eosin` are `(side, side) uint8`, 100 levels a unit of density; `parts` says for each pixel what
    was drawn there; `truth` is `(rows, columns) uint8` at 8 um a pixel: 0 glass, 1 tissue, 2 tumour.
    """

    haematoxylin: Grey
    eosin: Grey
    parts: Grey
    truth: Grey


def paint_section(layout: Layout, side_px: int, px_per_um: int, draw: np.random.Generator) -> Section:
    """Paint every compartment of a layout.

    Args:
        layout: the compartments.
        side_px: side of the picture, pixels.
        px_per_um: its resolution.
        draw: places everything.
    """
    inside = _inside(layout, side_px, px_per_um, draw)
    canvas = Canvas(
        haematoxylin=np.zeros((side_px, side_px), np.uint8),
        eosin=_stroma(layout, inside, px_per_um, draw),
        parts=np.full((side_px, side_px), Part.STROMA, np.uint8),
        px_per_um=px_per_um,
    )
    architecture.paint_alveoli(canvas, layout, draw)
    architecture.paint_solid(canvas, layout, draw)
    architecture.paint_glands(canvas, layout, draw)
    architecture.paint_foreign(canvas, layout, draw)
    architecture.paint_vessels(canvas, layout, draw)
    _add_grain(canvas, draw)
    architecture.paint_stroma_cells(canvas, layout, draw)
    canvas.parts[inside == 0] = Part.GLASS
    for density in (canvas.haematoxylin, canvas.eosin):
        cv2.multiply(density, inside, dst=density, scale=1.0 / 255.0)
    return Section(canvas.haematoxylin, canvas.eosin, canvas.parts, _truth(canvas, inside))


def _inside(layout: Layout, side_px: int, px_per_um: int, draw: np.random.Generator) -> Grey:
    """255 within the section, 0 on glass, with a frayed edge."""
    field = np.clip(128.0 + 900.0 * layout.outline, 0, 255).astype(np.uint8)
    grown = _grow(field, side_px, px_per_um)
    grain = tiled(granules(px_per_um), side_px, side_px, *draw.integers(0, 2048, 2).tolist())
    frayed = cv2.addWeighted(grown, 1.0, grain, 0.14, -18.0)
    edge = np.clip((np.arange(256) - 120.0) * 16.0, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(frayed, edge), np.uint8)


def _stroma(layout: Layout, inside: Grey, px_per_um: int, draw: np.random.Generator) -> Grey:
    """Collagen everywhere in the section: two fibre patterns, each where the other is weak."""
    rows, columns = layout.outline.shape
    side = inside.shape[0]
    weight = 1.0 / (1.0 + np.exp(-3.0 * smooth_field(draw, rows, columns, 28)))
    gain = np.clip(
        0.46 + 0.10 * smooth_field(draw, rows, columns, 36) + 0.04 * smooth_field(draw, rows, columns, 7), 0.2, 0.8
    )
    patterns = draw.permutation(6)[:2].tolist()
    eosin = np.zeros((side, side), np.uint8)
    for pattern, share in zip(patterns, (weight, 1.0 - weight), strict=True):
        texture = tiled(fibres(pattern, px_per_um), side, side, *draw.integers(0, 2048, 2).tolist())
        amount = _grow((share * gain * 255).astype(np.uint8), side, px_per_um)
        eosin = np.asarray(cv2.add(eosin, cv2.multiply(texture, amount, scale=1.0 / 255.0)), np.uint8)
    return eosin


def _add_grain(canvas: Canvas, draw: np.random.Generator) -> None:
    side = canvas.eosin.shape[0]
    grain = tiled(granules(canvas.px_per_um), side, side, *draw.integers(0, 2048, 2).tolist())
    for density in (canvas.eosin, canvas.haematoxylin):
        cv2.multiply(density, grain, dst=density, scale=1.0 / 128.0)


def _grow(cells: Grey, side_px: int, px_per_um: int) -> Grey:
    factor = CELL_UM * px_per_um
    grown = cv2.resize(cells, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(grown[:side_px, :side_px])


def _truth(canvas: Canvas, inside: Grey) -> Grey:
    """What was drawn, by pixels of 8 um: 0 glass, 1 tissue with the spaces it encloses, 2 tumour."""
    stained = np.where(canvas.parts == Part.AIR, np.uint8(0), inside)
    tissue = _enclosed(_shrink(stained, canvas.px_per_um) >= 96)
    drawn = ((canvas.parts == Part.GLAND) | (canvas.parts == Part.LUMEN) | (canvas.parts == Part.SOLID)).view(np.uint8)
    tumour = (_shrink(drawn * np.uint8(255), canvas.px_per_um) >= 128).astype(np.uint8)
    # The strands of stroma between glands belong to the tumour: close gaps of up to 40 um.
    closed = cv2.morphologyEx(tumour, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    truth = np.where(tissue, TISSUE, GLASS).astype(np.uint8)
    truth[tissue & (np.asarray(closed) > 0)] = TUMOUR
    return truth


def _enclosed(stained: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Stained pixels, gaps of up to 32 um and holes of up to 0.01 mm2 between them: alveoli open to glass are glass."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = np.asarray(cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_CLOSE, disc))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= 10_000 // CELL_UM**2
    return np.asarray((closed > 0) | small[labels])


def _shrink(mask: NDArray[np.uint8], px_per_um: int) -> Grey:
    factor = CELL_UM * px_per_um
    cells = -(-mask.shape[0] // factor)
    padded = cv2.copyMakeBorder(
        mask, 0, cells * factor - mask.shape[0], 0, cells * factor - mask.shape[1], cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(padded, (cells, cells), interpolation=cv2.INTER_AREA))
