"""A slide at low resolution, read in bounded pieces."""

from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.slides.errors import RegionUnreadable
from pellucid.slides.protocol import Slide

_BLOCK_PX = 2048
_LEAF_PX = 128
_GLASS = 255
_MAX_FAILURES = 500
"""Failed reads after which what fails is given up whole: each costs opening the file twice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overview:
    """A slide at low resolution.

    `rgb` is `(h, w, 3) uint8`; `downsample` is the edge of one of its pixels in level-0 pixels. `unreadable` is
    `(h, w) bool`, True where no stored level could be decoded; `rgb` is white there and says nothing. Both are
    read-only.
    """

    rgb: NDArray[np.uint8]
    downsample: float
    unreadable: NDArray[np.bool_]


_latest: WeakKeyDictionary[Slide, Overview] = WeakKeyDictionary()
"""The latest overview of each open slide: its tissue and its thumbnail are mostly seen on the same one."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A rectangle of overview pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def edge(self) -> int:
        return max(self.width, self.height)

    @property
    def part(self) -> tuple[slice, slice]:
        return np.s_[self.top : self.top + self.height, self.left : self.left + self.width]

    def quarters(self) -> list["_Block"]:
        half_x, half_y = self.width // 2, self.height // 2
        columns = [(0, half_x), (half_x, self.width - half_x)]
        rows = [(0, half_y), (half_y, self.height - half_y)]
        return [_Block(self.left + x, self.top + y, w, h) for y, h in rows for x, w in columns if w and h]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Read `level`, whose pixels are `step` level-0 pixels wide, and average `factor` x `factor` of them."""

    level: int
    step: float
    factor: int

    @property
    def pixel(self) -> float:
        return self.step * self.factor


def read_overview(slide: Slide, downsample: float) -> Overview:
    """Read a whole slide at about `downsample` level-0 pixels a pixel (never coarser, unless it is below 1).

    The coarsest stored level that is fine enough is read in blocks of at most 2048 x 2048 and averaged by a whole
    factor, so memory doesn't grow with the slide. Where a block can't be decoded it is read in ever smaller parts, the
    smallest at last from level 0, before it is given up as unreadable. A slide's latest overview is kept as long as the
    slide is, so asking for it again costs nothing.
    """
    plan = _plan(slide.info.level_downsamples, max(downsample, 1.0))
    with suppress(TypeError):  # a reader without weak references or a hash is read each time
        latest = _latest.get(slide)
        if latest is not None and latest.downsample == plan.pixel:
            return latest
    overview = _read(slide, plan)
    with suppress(TypeError):
        _latest[slide] = overview
    return overview


def stored_level(downsamples: tuple[float, ...], downsample: float) -> int:
    """The stored level that `read_overview` decodes for a downsample; equal levels cost the same to decode."""
    return _plan(downsamples, max(downsample, 1.0)).level


def _read(slide: Slide, plan: "_Plan") -> Overview:
    width, height = (max(1, int(edge // plan.pixel)) for edge in (slide.info.width, slide.info.height))
    canvas = _Canvas(slide, width, height)
    edge = max(1, _BLOCK_PX // plan.factor)
    for top in range(0, height, edge):
        for left in range(0, width, edge):
            canvas.paint(_Block(left, top, min(edge, width - left), min(edge, height - top)), plan)
    canvas.rgb.flags.writeable = canvas.unreadable.flags.writeable = False
    return Overview(rgb=canvas.rgb, downsample=plan.pixel, unreadable=canvas.unreadable)


def _plan(downsamples: tuple[float, ...], wanted: float) -> _Plan:
    usable = [level for level, step in enumerate(downsamples) if step <= wanted * 1.001]
    level = max(usable, key=lambda index: downsamples[index], default=0)
    step = downsamples[level]
    return _Plan(level=level, step=step, factor=max(1, int(wanted / step + 1e-3)))


class _Canvas:
    """An overview that is being painted, block by block."""

    def __init__(self, slide: Slide, width: int, height: int) -> None:
        self.rgb = np.full((height, width, 3), _GLASS, np.uint8)
        self.unreadable = np.zeros((height, width), np.bool_)
        self._slide = slide
        self._n_failures = 0

    def paint(self, block: _Block, plan: _Plan) -> None:
        if self._decode(block, plan):
            return
        self._n_failures += 1
        if self._n_failures > _MAX_FAILURES:
            self.unreadable[block.part] = True
        elif block.edge > 1 and block.edge * plan.factor > _LEAF_PX:
            for quarter in block.quarters():
                self.paint(quarter, plan)
        elif plan.level > 0 and block.edge * plan.pixel <= 2 * _BLOCK_PX:
            self.paint(block, _Plan(level=0, step=plan.pixel / round(plan.pixel), factor=round(plan.pixel)))
        else:
            self.unreadable[block.part] = True

    def _decode(self, block: _Block, plan: _Plan) -> bool:
        x, y = round(block.left * plan.pixel), round(block.top * plan.pixel)
        size = block.width * plan.factor, block.height * plan.factor
        try:
            region = self._slide.read_region(x, y, *size, level=plan.level)
        except RegionUnreadable:
            return False
        if plan.factor > 1:
            region = np.asarray(cv2.resize(region, (block.width, block.height), interpolation=cv2.INTER_AREA), np.uint8)
        self.rgb[block.part] = region
        return True
