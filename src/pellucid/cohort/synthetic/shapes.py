"""Rounded cells that fill the plane: alveoli, glands and nests are all star-shaped Voronoi cells."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float32]

N_ANGLES = 40
_ANGLES = np.linspace(0.0, 2.0 * np.pi, N_ANGLES, endpoint=False).astype(np.float32)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_SUBPIXEL_BITS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """`centres (n, 2)` x, y and `radii (n, N_ANGLES)`, in pixels."""

    centres: Floats
    radii: Floats

    def __len__(self) -> int:
        return len(self.centres)

    def shrunk(self, by: float | Floats) -> "Cells":
        """The cells with their walls moved inwards."""
        return Cells(self.centres, np.maximum(self.radii - by, 0.0).astype(np.float32))

    def subset(self, which: NDArray[np.bool_]) -> "Cells":
        """Some of the cells."""
        return Cells(self.centres[which], self.radii[which])

    def polygons(self) -> list[NDArray[np.int32]]:
        """Corner points for OpenCV, with three fractional bits."""
        points = self.centres[:, None, :] + self.radii[:, :, None] * _DIRECTIONS
        return list(np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32))

    def fill(self, canvas: NDArray[np.uint8], value: int) -> None:
        """Fill every cell with one value."""
        for polygon in self.polygons():
            cv2.fillPoly(canvas, [polygon], value, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)

    def fill_each(self, canvas: NDArray[np.uint8], values: NDArray[np.integer]) -> None:
        """Fill every cell with its own value."""
        for polygon, value in zip(self.polygons(), values.tolist(), strict=True):
            cv2.fillPoly(canvas, [polygon], value, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)

    def along_wall(
        self, draw: np.random.Generator, spacing: float, inset: float, jitter: float
    ) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """Points along each cell's wall: positions `(m, 2)`, outward angles `(m,)`, the cell of each `(m,)`.

        Args:
            draw: places the points.
            spacing: mean distance of neighbours, pixels.
            inset: distance from the wall inwards (negative: outwards), pixels.
            jitter: standard deviation of the distance from the wall, pixels.
        """
        counts = np.maximum((2.0 * np.pi * self.radii.mean(axis=1) / spacing).astype(np.intp), 1)
        cell = np.repeat(np.arange(len(self)), counts)
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
        turn = (nth + draw.uniform(-0.32, 0.32, len(cell))) / counts[cell] * N_ANGLES
        low = np.floor(turn).astype(np.intp)
        part = (turn - low).astype(np.float32)
        radius = self.radii[cell, low % N_ANGLES] * (1 - part) + self.radii[cell, (low + 1) % N_ANGLES] * part
        radius = np.maximum(radius - inset + jitter * draw.standard_normal(len(cell)), 0.0)
        angle = (turn * (2.0 * np.pi / N_ANGLES)).astype(np.float32)
        points = self.centres[cell] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return points.astype(np.float32), angle, cell


def scattered(draw: np.random.Generator, rows: int, columns: int, spacing: float, jitter: float = 0.3) -> Floats:
    """Points `(n, 2)` x, y on a hexagonal grid, each moved by up to `jitter` spacings; they cover the whole canvas."""
    height = spacing * 0.866
    ys = np.arange(-height, rows + height, height)
    xs = np.arange(-spacing, columns + spacing, spacing)
    x, y = np.meshgrid(xs, ys)
    x = x + (np.arange(len(ys)) % 2)[:, None] * spacing / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return np.asarray(points + draw.uniform(-jitter, jitter, points.shape) * spacing, dtype=np.float32)


def voronoi_cells(draw: np.random.Generator, points: Floats, *, roundness: float, wobble: float) -> Cells:
    """A rounded cell around each point, which touches its neighbours' cells.

    The wall in each direction is the soft minimum (a power mean) of the half-way planes to the eight nearest points.

    Args:
        draw: makes the walls uneven.
        points: `(n, 2)`.
        roundness: exponent of the mean; lower is rounder, with larger gaps at the corners.
        wobble: relative unevenness of the wall.
    """
    if len(points) < 10:
        return Cells(np.empty((0, 2), np.float32), np.empty((0, N_ANGLES), np.float32))
    _, neighbours = cKDTree(points).query(points, k=9)
    offsets = points[neighbours[:, 1:]] - points[:, None, :]
    squared = np.maximum((offsets**2).sum(axis=2), 1.0)
    nearness = np.maximum(2.0 * (offsets / squared[:, :, None]) @ _DIRECTIONS.T, 1e-4)
    radii = (nearness**roundness).sum(axis=1) ** (-1.0 / roundness)
    radii = np.minimum(radii, 1.6 * np.median(radii, axis=1, keepdims=True))
    waves = np.zeros_like(radii)
    for k in (2, 3, 5):
        waves += (
            draw.standard_normal((len(points), 1))
            / k**0.5
            * np.cos(k * _ANGLES + draw.uniform(0, 2 * np.pi, (len(points), 1)))
        )
    return Cells(points, (radii * np.clip(1.0 + wobble * waves, 0.5, 1.3)).astype(np.float32))


def lookup(field: NDArray[np.generic], points: Floats, px_per_cell: float) -> NDArray[np.generic]:
    """The value of a coarse map at each point; outside the map, at its edge."""
    rows = np.clip((points[:, 1] / px_per_cell).astype(np.intp), 0, field.shape[0] - 1)
    columns = np.clip((points[:, 0] / px_per_cell).astype(np.intp), 0, field.shape[1] - 1)
    return np.asarray(field[rows, columns])
