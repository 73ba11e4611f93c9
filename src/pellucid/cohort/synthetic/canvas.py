"""What the painters share: the density maps and a map of what was drawn where."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.noise import Grey
from pellucid.cohort.synthetic.shapes import Cells, Floats


class Part(IntEnum):
    """What a pixel shows."""

    GLASS = 0
    STROMA = 1
    AIR = 2
    SOLID = 3
    GLAND = 4
    LUMEN = 5
    VESSEL = 6


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Density maps `(side, side) uint8` that painters change in place, and their resolution."""

    haematoxylin: Grey
    eosin: Grey
    parts: Grey
    px_per_um: int

    @property
    def side(self) -> int:
        """Side of the maps, pixels."""
        return int(self.parts.shape[0])

    def fill(self, cells: Cells, part: Part, *, haematoxylin: NDArray[np.integer], eosin: NDArray[np.integer]) -> None:
        """Fill each cell with its own densities."""
        cells.fill_each(self.haematoxylin, haematoxylin)
        cells.fill_each(self.eosin, eosin)
        cells.fill(self.parts, int(part))

    def shows(self, points: Floats, part: Part) -> NDArray[np.bool_]:
        """Whether each point `(n, 2)` lies on the canvas and on this part."""
        columns, rows = np.round(points).astype(np.intp).T
        on = (rows >= 0) & (columns >= 0) & (rows < self.side) & (columns < self.side)
        found = self.parts[np.clip(rows, 0, self.side - 1), np.clip(columns, 0, self.side - 1)]
        return np.asarray(on & (found == part))
