"""Nuclei, drawn once a process as small pictures of haematoxylin density, to be stamped many times."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator

DENSITY_UNIT = 100
"""Grey levels of a density map for one unit of (natural) optical density."""
_SHAPES = 16
_TURNS = 16


class Nucleus(StrEnum):
    """Kinds of nuclei."""

    VESICULAR = "vesicular"
    HYPERCHROMATIC = "hyperchromatic"
    LYMPHOCYTE = "lymphocyte"
    PLASMA = "plasma"
    FIBROBLAST = "fibroblast"
    PNEUMOCYTE = "pneumocyte"
    MACROPHAGE = "macrophage"


@dataclass(frozen=True, slots=True)
class _Look:
    """Half axes in um and densities of one kind: inside, at the rim, of chromatin clumps, of nucleoli."""

    long: float
    short: float
    spread: float
    inside: float
    rim: float
    clumps: float
    nucleolus: float
    irregular: float
    bend: float = 0.0


_LOOKS = {
    Nucleus.VESICULAR: _Look(5.6, 4.2, 0.12, 0.55, 0.50, 0.17, 0.80, 0.05),
    Nucleus.HYPERCHROMATIC: _Look(3.7, 2.7, 0.16, 1.25, 0.12, 0.22, 0.0, 0.10),
    Nucleus.LYMPHOCYTE: _Look(3.1, 2.8, 0.08, 1.35, 0.20, 0.35, 0.0, 0.04),
    Nucleus.PLASMA: _Look(3.3, 2.7, 0.08, 1.15, 0.30, 0.45, 0.0, 0.04),
    Nucleus.FIBROBLAST: _Look(8.0, 1.7, 0.25, 1.05, 0.15, 0.15, 0.0, 0.06, 0.35),
    Nucleus.PNEUMOCYTE: _Look(4.6, 1.9, 0.20, 1.05, 0.20, 0.20, 0.0, 0.08, 0.2),
    Nucleus.MACROPHAGE: _Look(4.3, 3.2, 0.12, 0.80, 0.30, 0.20, 0.2, 0.08, 0.2),
}


@dataclass(frozen=True, slots=True, eq=False)
class StampSet:
    """Stamps of one kind: `(turns, shapes, side, side) uint8`, turned evenly through a full circle."""

    pictures: NDArray[np.uint8]

    @property
    def side(self) -> int:
        """Edge of a stamp, pixels."""
        return int(self.pictures.shape[2])

    def pick(
        self, draw: np.random.Generator, angles: NDArray[np.floating]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """A turn and a random shape for each angle (radians)."""
        turns = np.round(angles / (2.0 * np.pi / _TURNS)).astype(np.intp) % _TURNS
        return turns, draw.integers(0, _SHAPES, size=len(angles)).astype(np.intp)


@lru_cache(maxsize=32)
def stamp_set(kind: Nucleus, px_per_um: int) -> StampSet:
    """The stamps of one kind at a resolution."""
    look = _LOOKS[kind]
    draw = generator("nucleus stamps", kind.value)
    side = int(np.ceil(2.0 * look.long * (1.0 + 2.2 * look.spread) * px_per_um)) + 3
    side += 1 - side % 2
    pictures = np.empty((_TURNS, _SHAPES, side, side), np.uint8)
    for shape in range(_SHAPES):
        _draw_turns(draw, look, px_per_um, pictures[:, shape])
    return StampSet(pictures)


def _draw_turns(draw: np.random.Generator, look: _Look, px_per_um: int, out: NDArray[np.uint8]) -> None:
    """One nucleus at every turn; `out` is `(turns, side, side)`."""
    side = out.shape[1]
    size = float(np.clip(1.0 + look.spread * draw.standard_normal(), 1.0 - 2 * look.spread, 1.0 + 2 * look.spread))
    long, short = look.long * size, look.short * size * float(draw.uniform(0.88, 1.12))
    waves = look.irregular * draw.standard_normal(4) / np.arange(2, 6) ** 0.5
    phases = draw.uniform(0.0, 2.0 * np.pi, 4)
    bend = look.bend * float(draw.standard_normal())
    clumps = np.asarray(
        cv2.GaussianBlur(draw.standard_normal((side, side)).astype(np.float32), (0, 0), 0.42 * px_per_um), np.float32
    )
    clumps /= clumps.std()
    depth = look.inside * float(np.clip(1.0 + 0.14 * draw.standard_normal(), 0.7, 1.35))
    spots = draw.uniform(-0.4, 0.4, (int(draw.integers(1, 3)), 2)) * (long, short)
    axis = (np.arange(side, dtype=np.float32) - side // 2) / px_per_um
    x, y = np.meshgrid(axis, axis)
    for turn in range(len(out)):
        angle = turn * 2.0 * np.pi / len(out)
        u = x * np.cos(angle) + y * np.sin(angle)
        v = y * np.cos(angle) - x * np.sin(angle)
        v = v - bend * short * ((u / long) ** 2 - 0.4)
        theta = np.arctan2(v, u)
        edge = 1.0 + sum(w * np.cos(k * theta + p) for k, (w, p) in enumerate(zip(waves, phases, strict=True), 2))
        inward = (edge - np.hypot(u / long, v / short)) * (long * short) ** 0.5
        density = depth + look.rim * np.exp(-((np.maximum(inward, 0.0) / 0.75) ** 2)) + look.clumps * clumps
        if look.nucleolus:
            for a, b in spots:
                density = density + look.nucleolus * np.exp(-((u - a) ** 2 + (v - b) ** 2) / 0.9)
        density = density * np.clip(inward * px_per_um + 0.5, 0.0, 1.0)
        out[turn] = np.clip(density * DENSITY_UNIT, 0, 250).astype(np.uint8)


def stamp(
    canvas: NDArray[np.uint8],
    kind: Nucleus,
    px_per_um: int,
    centres: NDArray[np.floating],
    angles: NDArray[np.floating],
    draw: np.random.Generator,
) -> None:
    """Stamp a nucleus at each centre, where it lies wholly on the canvas; the denser pixel wins.

    Args:
        canvas: `(rows, columns) uint8` haematoxylin density.
        kind: what to stamp.
        px_per_um: resolution of the canvas.
        centres: `(n, 2)` x, y in pixels.
        angles: `(n,)` radians.
        draw: picks the shapes.
    """
    stamps = stamp_set(kind, px_per_um)
    side = stamps.side
    corners = np.round(centres).astype(np.intp) - side // 2
    inside = ((corners >= 0) & (corners + side <= (canvas.shape[1], canvas.shape[0]))).all(axis=1)
    turns, shapes = stamps.pick(draw, angles)
    pictures, maximum = stamps.pictures, np.maximum
    for (x, y), turn, shape in zip(
        corners[inside].tolist(), turns[inside].tolist(), shapes[inside].tolist(), strict=True
    ):
        view = canvas[y : y + side, x : x + side]
        maximum(view, pictures[turn, shape], out=view)
