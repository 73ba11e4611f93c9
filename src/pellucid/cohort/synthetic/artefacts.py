"""What goes wrong between tissue and file: defocus, pen, tiles that can't be decoded, a file that ends early."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.noise import Grey
from pellucid.core.files import write_bytes

_PENS = ((38, 92, 200), (24, 150, 90), (34, 34, 44), (196, 40, 48))
_UNREADABLE = b"\xff\xd8" + b"synthetic corruption " * 12


def defocus(picture: NDArray[np.uint8], draw: np.random.Generator, px_per_um: int) -> NDArray[np.uint8]:
    """The picture taken 1.8 to 2.6 um (standard deviation of the blur) out of focus."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(draw.uniform(1.8, 2.6)) * px_per_um))


def draw_pen(picture: NDArray[np.uint8], truth: Grey, draw: np.random.Generator) -> NDArray[np.uint8]:
    """Felt pen over about half of the tissue: strokes to and fro across it, as somebody crosses out a section.

    Args:
        picture: `(side, side, 3) uint8`.
        truth: `(rows, columns) uint8`, above 0 where there is tissue.
        draw: places the strokes.
    """
    side = picture.shape[0]
    scale = side / truth.shape[0]
    rows, columns = np.nonzero(truth)
    top, bottom = rows.min() * scale, rows.max() * scale
    left, right = columns.min() * scale - 60, columns.max() * scale + 60
    n_strokes = 7
    width = int(0.42 * (bottom - top) / n_strokes)
    ink = np.zeros((side, side), np.uint8)
    levels = np.linspace(top + width, bottom - width, n_strokes)
    ends = [(left, right) if nth % 2 == 0 else (right, left) for nth in range(n_strokes)]
    points = []
    for level, (start, end) in zip(levels, ends, strict=True):
        x = np.linspace(start, end, 24)
        wave = level + 0.35 * width * np.sin(np.linspace(0, draw.uniform(4, 9), 24) + draw.uniform(0, 6))
        points += list(zip(x, wave, strict=True))
    cv2.polylines(ink, [np.asarray(points, np.int32)], isClosed=False, color=225, thickness=width, lineType=cv2.LINE_AA)
    colour = np.asarray(_PENS[int(draw.integers(len(_PENS)))], np.uint8)
    return _inked(picture, np.asarray(cv2.blur(ink, (9, 9)), np.uint8), colour)


def _inked(picture: NDArray[np.uint8], ink: Grey, colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink absorbs: the picture times the ink's colour, where there is ink."""
    planes = []
    for plane, level in zip(cv2.split(picture), colour.tolist(), strict=True):
        through = cv2.convertScaleAbs(ink, alpha=-(255.0 - level) / 255.0, beta=255.0)
        planes.append(cv2.multiply(plane, through, scale=1.0 / 255.0))
    return np.asarray(cv2.merge(planes))


def spoil_tiles(tiles: list[bytes], *, many: bool) -> list[bytes]:
    """Make the largest tile (surely tissue) undecodable, or every third of the tiles with tissue."""
    by_size = sorted(range(len(tiles)), key=lambda index: (-len(tiles[index]), index))
    smallest = len(tiles[by_size[-1]])
    tissue = [index for index in by_size if len(tiles[index]) > 2 * smallest] or by_size[:1]
    chosen = set(sorted(tissue)[::3]) if many else {by_size[0]}
    return [_UNREADABLE if index in chosen else tile for index, tile in enumerate(tiles)]


def truncate(path: Path, share: float) -> None:
    """Keep only the first `share` of a file."""
    data = path.read_bytes()
    write_bytes(path, data[: int(len(data) * share)])
