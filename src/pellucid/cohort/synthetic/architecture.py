"""The architectures of lung and its tumours: alveoli, solid nests, glands, vessels, the cells of the stroma.

Lengths are in um and become pixels by the canvas's resolution; densities are in hundredths.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.canvas import Canvas, Part
from pellucid.cohort.synthetic.layout import CELL_UM, Layout, Mask
from pellucid.cohort.synthetic.shapes import Cells, Floats, lookup, scattered, voronoi_cells
from pellucid.cohort.synthetic.stamps import Nucleus, stamp

Draw = np.random.Generator


def _levels(draw: Draw, n: int, mean: float, sd: float) -> NDArray[np.int64]:
    return np.clip(mean + sd * draw.standard_normal(n), 0, 250).astype(np.int64)


def _any_angle(draw: Draw, n: int) -> NDArray[np.float64]:
    return draw.uniform(0.0, 2.0 * np.pi, n)


def _cells_in(
    canvas: Canvas, where: Mask, draw: Draw, *, spacing: float, jitter: float, roundness: float, wobble: float
) -> Cells:
    """Rounded cells `spacing` um apart whose centres lie in a compartment."""
    px = canvas.px_per_um
    points = scattered(draw, canvas.side, canvas.side, spacing * px, jitter)
    cells = voronoi_cells(draw, points, roundness=roundness, wobble=wobble)
    return cells.subset(lookup(where, cells.centres, CELL_UM * px).astype(bool)) if len(cells) else cells


def _points_in(canvas: Canvas, where: Mask, draw: Draw, spacing: float, jitter: float = 0.36) -> Floats:
    """Points `spacing` um apart inside a compartment."""
    px = canvas.px_per_um
    points = scattered(draw, canvas.side, canvas.side, spacing * px, jitter)
    return np.asarray(points[lookup(where, points, CELL_UM * px).astype(bool)])


def paint_alveoli(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """Airspaces between thin septa, with pneumocytes, capillaries, some oedema and macrophages."""
    px = canvas.px_per_um
    cells = _cells_in(
        canvas, layout.alveolar, draw, spacing=float(draw.uniform(50, 66)), jitter=0.5, roundness=7.0, wobble=0.11
    )
    wall = np.clip(draw.normal(4.2, 1.3, (len(cells), 1)), 2.4, 9.0) * px
    airspaces = cells.shrunk(wall.astype(np.float32))
    wet = draw.random(len(cells)) < draw.uniform(0.0, 0.12)
    canvas.fill(
        airspaces,
        Part.AIR,
        haematoxylin=np.zeros(len(cells), np.int64),
        eosin=np.where(wet, _levels(draw, len(cells), 17, 5), 0),
    )
    points, angles, _ = airspaces.along_wall(draw, spacing=15.0 * px, inset=-2.4 * px, jitter=0.5 * px)
    stamp(canvas.haematoxylin, Nucleus.PNEUMOCYTE, px, points, angles + np.pi / 2, draw)
    points, _, _ = airspaces.along_wall(draw, spacing=13.0 * px, inset=-3.2 * px, jitter=0.8 * px)
    _red_cells(canvas, points[draw.random(len(points)) < 0.7], draw)
    _macrophages(canvas, airspaces, draw)


def _macrophages(canvas: Canvas, airspaces: Cells, draw: Draw) -> None:
    px = canvas.px_per_um
    hosts = np.flatnonzero(draw.random(len(airspaces)) < draw.uniform(0.05, 0.35))
    hosts = np.repeat(hosts, draw.integers(1, 5, len(hosts)))
    reach = airspaces.radii[hosts].mean(axis=1, keepdims=True) * draw.uniform(0.1, 0.75, (len(hosts), 1))
    angle = _any_angle(draw, len(hosts))
    points = (airspaces.centres[hosts] + reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)
    for x, y in points.tolist():
        centre, radius = (int(x * 8), int(y * 8)), int(draw.uniform(6.0, 9.0) * px * 8)
        cv2.circle(canvas.eosin, centre, radius, int(draw.integers(24, 44)), -1, cv2.LINE_AA, 3)
        cv2.circle(canvas.haematoxylin, centre, radius, int(draw.integers(6, 18)), -1, cv2.LINE_AA, 3)
    stamp(
        canvas.haematoxylin,
        Nucleus.MACROPHAGE,
        px,
        points + draw.normal(0, 1.5 * px, points.shape),
        _any_angle(draw, len(points)),
        draw,
    )


def _red_cells(canvas: Canvas, points: Floats, draw: Draw) -> None:
    px = canvas.px_per_um
    for (x, y), density in zip(points.tolist(), draw.integers(70, 105, len(points)).tolist(), strict=True):
        cv2.circle(canvas.eosin, (int(x * 8), int(y * 8)), int(2.9 * px * 8), density, -1, cv2.LINE_AA, 3)


def paint_solid(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """The wild-type pattern: nests without lumens, packed with small, dense, hyperchromatic nuclei."""
    px = canvas.px_per_um
    where = layout.tumour & ~layout.glandular & ~layout.foreign
    nests = _cells_in(
        canvas, where, draw, spacing=float(draw.uniform(80, 150)), jitter=0.48, roundness=11.0, wobble=0.10
    ).shrunk(float(draw.uniform(1.5, 5.0)) * px)
    canvas.fill(
        nests, Part.SOLID, haematoxylin=_levels(draw, len(nests), 25, 3), eosin=_levels(draw, len(nests), 46, 4)
    )
    around = cv2.dilate(where.view(np.uint8), np.ones((15, 15), np.uint8)) > 0
    points = _points_in(canvas, around, draw, spacing=float(draw.uniform(8.0, 9.6)))
    points = points[canvas.shows(points, Part.SOLID)]
    _cell_bodies(canvas, points, draw, radius=4.4, spread=9)
    stamp(canvas.haematoxylin, Nucleus.HYPERCHROMATIC, px, points, _any_angle(draw, len(points)), draw)


def paint_glands(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """The mutated pattern: glands and lepidic growth round open lumens, with large vesicular nuclei in a row."""
    px = canvas.px_per_um
    glands = _cells_in(
        canvas, layout.glandular, draw, spacing=float(draw.uniform(66, 92)), jitter=0.36, roundness=7.0, wobble=0.07
    ).shrunk(float(draw.uniform(3.5, 7.0)) * px)
    n = len(glands)
    canvas.fill(glands, Part.GLAND, haematoxylin=_levels(draw, n, 17, 3), eosin=_levels(draw, n, 46, 5))
    thickness = np.clip(draw.normal(16.5, 2.5, (n, 1)), 12.5, 26.0) * px
    ragged = 0.9 * px * draw.standard_normal(glands.radii.shape)
    lumens = glands.shrunk((thickness + ragged).astype(np.float32))
    lumens = lumens.subset(lumens.radii.mean(axis=1) > 4.0 * px)
    secretion = draw.random(len(lumens)) < 0.3
    canvas.fill(
        lumens,
        Part.LUMEN,
        haematoxylin=np.where(secretion, _levels(draw, len(lumens), 7, 3), 0),
        eosin=np.where(secretion, _levels(draw, len(lumens), 14, 5), 0),
    )
    for inset, spacing in ((6.6, 11.0), (10.5, 34.0)):
        points, angles, _ = glands.along_wall(draw, spacing=spacing * px, inset=inset * px, jitter=1.1 * px)
        shown = canvas.shows(points, Part.GLAND)
        turned = angles[shown] + draw.normal(0.0, 0.3, int(shown.sum()))
        stamp(canvas.haematoxylin, Nucleus.VESICULAR, px, points[shown], turned, draw)
    filled = _points_in(canvas, layout.glandular, draw, spacing=12.5)
    filled = filled[canvas.shows(filled, Part.GLAND)]
    near = _near_nucleus(canvas, filled)
    stamp(canvas.haematoxylin, Nucleus.VESICULAR, px, filled[~near], _any_angle(draw, int((~near).sum())), draw)


def paint_foreign(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """A foreign pattern, as of small-cell carcinoma: sheets of small dense nuclei that touch, nearly no cytoplasm."""
    # a section without it must be drawn as if this pattern didn't exist
    if not layout.foreign.any():
        return
    px = canvas.px_per_um
    sheets = _cells_in(canvas, layout.foreign, draw, spacing=70.0, jitter=0.4, roundness=9.0, wobble=0.08)
    n = len(sheets)
    canvas.fill(sheets, Part.SOLID, haematoxylin=_levels(draw, n, 40, 4), eosin=_levels(draw, n, 30, 4))
    around = cv2.dilate(layout.foreign.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
    points = _points_in(canvas, around, draw, spacing=5.6)
    points = points[canvas.shows(points, Part.SOLID)]
    stamp(canvas.haematoxylin, Nucleus.LYMPHOCYTE, px, points, _any_angle(draw, len(points)), draw)


def _near_nucleus(canvas: Canvas, points: Floats) -> NDArray[np.bool_]:
    """Whether a nucleus already lies within 6 um of each point."""
    reach = 6 * canvas.px_per_um
    near = np.zeros(len(points), np.bool_)
    for dx, dy in ((0, 0), (reach, 0), (-reach, 0), (0, reach), (0, -reach)):
        columns, rows = np.clip(np.round(points + np.array([dx, dy])).astype(np.intp), 0, canvas.side - 1).T
        near |= (canvas.haematoxylin[rows, columns] > 60) | (canvas.parts[rows, columns] != Part.GLAND)
    return near


def _cell_bodies(canvas: Canvas, points: Floats, draw: Draw, *, radius: float, spread: int) -> None:
    """Give each cell's cytoplasm a density of its own."""
    base = 46 + draw.integers(-spread, spread + 1, len(points))
    size = int(radius * canvas.px_per_um * 8)
    for (x, y), density in zip(points.tolist(), base.tolist(), strict=True):
        cv2.circle(canvas.eosin, (int(x * 8), int(y * 8)), size, density, -1, cv2.LINE_8, 3)


def paint_vessels(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """A few vessels with a muscular wall, some full of blood."""
    px = canvas.px_per_um
    stroma = layout.tissue & ~layout.tumour & ~layout.alveolar & (layout.outline > 0.08)
    cells = _cells_in(canvas, stroma, draw, spacing=150.0, jitter=0.4, roundness=5.0, wobble=0.10)
    cells = cells.subset(draw.random(len(cells)) < 0.3)
    size = (draw.uniform(14, 40, (len(cells), 1)) * px) / np.maximum(cells.radii.mean(axis=1, keepdims=True), 1.0)
    walls = Cells(cells.centres, (cells.radii * size).astype(np.float32))
    canvas.fill(
        walls, Part.VESSEL, haematoxylin=_levels(draw, len(cells), 10, 2), eosin=_levels(draw, len(cells), 66, 6)
    )
    insides = Cells(cells.centres, (walls.radii * draw.uniform(0.5, 0.75, (len(cells), 1))).astype(np.float32))
    canvas.fill(insides, Part.VESSEL, haematoxylin=np.zeros(len(cells), np.int64), eosin=np.zeros(len(cells), np.int64))
    for inset, kind, spacing in ((5.0, Nucleus.FIBROBLAST, 11.0), (10.0, Nucleus.FIBROBLAST, 16.0)):
        points, angles, cell = walls.along_wall(draw, spacing=spacing * px, inset=inset * px, jitter=1.0 * px)
        within = np.hypot(*(points - cells.centres[cell]).T) > insides.radii.mean(axis=1)[cell]
        stamp(canvas.haematoxylin, kind, px, points[within], angles[within] + np.pi / 2, draw)
    full = insides.subset(draw.random(len(cells)) < 0.6)
    if len(full):
        points = _points_in(canvas, stroma, draw, spacing=5.6)
        near = np.zeros(len(points), np.bool_)
        for centre, radius in zip(full.centres, full.radii.min(axis=1), strict=True):
            near |= np.hypot(*(points - centre).T) < radius - 2.5 * px
        _red_cells(canvas, points[near], draw)


def paint_stroma_cells(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """Fibroblasts along the fibres, lymphocytes and plasma cells in drifts, follicles, some black pigment."""
    px = canvas.px_per_um
    directions = _fibre_directions(canvas)
    points = _points_in(canvas, layout.tissue, draw, spacing=float(draw.uniform(17, 24)), jitter=0.48)
    points = points[canvas.shows(points, Part.STROMA)]
    angles = lookup(directions, points, 4.0).astype(np.float64) + draw.normal(0.0, 0.18, len(points))
    stamp(canvas.haematoxylin, Nucleus.FIBROBLAST, px, points, angles, draw)
    points = _points_in(canvas, layout.tissue, draw, spacing=13.0, jitter=0.5)
    drift = np.sin(points[:, 0] / (61.0 * px) + draw.uniform(0, 6)) + np.sin(
        points[:, 1] / (47.0 * px) + draw.uniform(0, 6)
    )
    points = points[
        canvas.shows(points, Part.STROMA) & (draw.random(len(points)) < np.clip(0.10 + 0.25 * drift, 0.03, 0.6))
    ]
    plasma = draw.random(len(points)) < 0.3
    stamp(canvas.haematoxylin, Nucleus.LYMPHOCYTE, px, points[~plasma], _any_angle(draw, int((~plasma).sum())), draw)
    stamp(canvas.haematoxylin, Nucleus.PLASMA, px, points[plasma], _any_angle(draw, int(plasma.sum())), draw)
    points = _points_in(canvas, layout.lymphoid, draw, spacing=6.4)
    points = points[canvas.shows(points, Part.STROMA)]
    stamp(canvas.haematoxylin, Nucleus.LYMPHOCYTE, px, points, _any_angle(draw, len(points)), draw)
    _pigment(canvas, layout, draw)


def _fibre_directions(canvas: Canvas) -> Floats:
    """Direction of the fibres in radians, on cells of 4 px, from the structure tensor of the eosin."""
    small = cv2.resize(canvas.eosin, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(np.float32)
    dx, dy = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.blur(product, (9, 9)) for product in (dx * dx, dy * dy, dx * dy))
    return np.asarray(0.5 * np.arctan2(2.0 * xy, xx - yy) + np.pi / 2, dtype=np.float32)


def _pigment(canvas: Canvas, layout: Layout, draw: Draw) -> None:
    """Anthracotic pigment: clusters of black grains in the stroma."""
    px = canvas.px_per_um
    hosts = _points_in(canvas, layout.tissue & ~layout.tumour, draw, spacing=120.0, jitter=0.5)
    hosts = hosts[canvas.shows(hosts, Part.STROMA) & (draw.random(len(hosts)) < 0.12)]
    grains = np.repeat(hosts, 40, axis=0) + draw.normal(0.0, 7.0 * px, (40 * len(hosts), 2))
    for x, y in grains.tolist():
        centre, radius = (int(x * 8), int(y * 8)), int(0.9 * px * 8)
        cv2.circle(canvas.haematoxylin, centre, radius, 230, -1, cv2.LINE_AA, 3)
        cv2.circle(canvas.eosin, centre, radius, 120, -1, cv2.LINE_AA, 3)
