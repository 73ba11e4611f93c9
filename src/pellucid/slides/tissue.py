"""Where a scan holds tissue."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.slides.overview import read_overview
from pellucid.slides.pen import find_pen
from pellucid.slides.protocol import Slide
from pellucid.slides.scale import require_scale
from pellucid.slides.stain import FloatImage, estimate_glass, optical_density

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueParams:
    """How tissue is found; lengths in um, areas in um2.

    `mpp` is the um/px to work at. `min_colour` is the least difference of optical density between the channels that
    counts as stain, and `noise_factor` how often it must exceed the noise of empty glass. `smooth_um` is the
    standard deviation of the blur before that; `edge_share` is the share of the strongest colour next to it that a
    pixel must have, so that the blur of a dark edge isn't tissue. `close_um` bridges gaps of up to twice its length,
    holes below `hole_um2` are filled, parts below `min_area_um2` or thinner than `min_width_um` are dropped.
    """

    mpp: float = 8.0
    min_colour: float = 0.03
    noise_factor: float = 5.0
    smooth_um: float = 6.0
    edge_share: float = 0.4
    close_um: float = 16.0
    hole_um2: float = 10_000.0
    min_area_um2: float = 4_000.0
    min_width_um: float = 24.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TissueMap:
    """Tissue and pen of a scan at low resolution.

    `rgb` is `(h, w, 3) uint8`, the overview all was judged on; `mask`, `pen` and `unreadable` are `(h, w) bool`:
    tissue without pen, ink, and what no stored level could show. `mpp` is um of a pixel in x and y, `downsample` its
    edge in level-0 pixels. `glass` is `(3,) float32`, the colour of empty glass.
    """

    rgb: NDArray[np.uint8]
    mask: Mask
    pen: Mask
    unreadable: Mask
    mpp: tuple[float, float]
    downsample: float
    glass: NDArray[np.float32]

    @property
    def area_mm2(self) -> float:
        """Tissue without pen, mm2."""
        return float(np.count_nonzero(self.mask) * self.mpp[0] * self.mpp[1] / 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileJudgement:
    """What one image holds: shares of its area that are tissue and ink, and what follows."""

    tissue_fraction: float
    pen_fraction: float

    @property
    def penned(self) -> bool:
        """Whether there is ink on it."""
        return self.pen_fraction > 0.01

    @property
    def blank(self) -> bool:
        """Whether it holds too little tissue to be used."""
        return self.tissue_fraction < 0.10


_DEFAULT = TissueParams()


def find_tissue(slide: Slide, params: TissueParams = _DEFAULT) -> TissueMap:
    """Find tissue and ink on a scan's overview.

    Stain has a colour and glass, shadow, dust and a coverslip's edge have none, so tissue is where the channels'
    optical densities differ by a fixed amount, more where glass is noisy. No threshold is fitted to the image's
    contrast: an empty slide stays empty, and a crop that is all tissue stays tissue.

    Args:
        slide: a slide with a usable scale.
        params: see there.

    Raises:
        ScaleMissing, ScaleAbsurd, ScaleContradicted, ScaleTooCoarse: there is no usable scale.
    """
    scale = require_scale(slide.info)
    overview = read_overview(slide, params.mpp / scale.mpp)
    mpp = scale.mpp_x * overview.downsample, scale.mpp_y * overview.downsample
    glass = estimate_glass(overview.rgb)
    mask, pen = segment(optical_density(overview.rgb, glass), float((mpp[0] * mpp[1]) ** 0.5), params)
    mask &= ~overview.unreadable
    return TissueMap(
        rgb=overview.rgb,
        mask=mask,
        pen=pen & ~overview.unreadable,
        unreadable=overview.unreadable,
        mpp=mpp,
        downsample=overview.downsample,
        glass=glass,
    )


def judge_image(rgb: NDArray[np.uint8], *, mpp: float, params: TissueParams = _DEFAULT) -> TileJudgement:
    """Judge one tile or image by the rules that `find_tissue` applies to a slide.

    Args:
        rgb: `(h, w, 3)` pixels.
        mpp: their um/px.
        params: see there.
    """
    step = max(1, int(params.mpp / mpp + 1e-3))
    height, width = max(1, rgb.shape[0] // step), max(1, rgb.shape[1] // step)
    whole = np.ascontiguousarray(rgb[: height * step, : width * step])
    small = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    mask, pen = segment(optical_density(small, estimate_glass(small)), mpp * step, params)
    return TileJudgement(tissue_fraction=float(mask.mean()), pen_fraction=float(pen.mean()))


def segment(density: FloatImage, mpp: float, params: TissueParams = _DEFAULT) -> tuple[Mask, Mask]:
    """Tissue without ink, and ink, both `(h, w) bool`.

    Args:
        density: `(h, w, 3)` optical densities.
        mpp: um/px.
        params: see there.
    """
    pen = find_pen(density, mpp)
    colour = density.max(axis=2) - density.min(axis=2)
    colour = cv2.GaussianBlur(colour, (0, 0), max(params.smooth_um / mpp, 0.3))
    stained = (colour > _colour_limit(density, params)) & (colour > params.edge_share * _strongest(colour)) & ~pen
    stained = _morph(stained, cv2.MORPH_CLOSE, params.close_um, mpp)
    stained = _morph(stained & ~pen, cv2.MORPH_OPEN, params.min_width_um / 2.0, mpp)
    stained = _filled(stained, params.hole_um2 / mpp**2)
    return _without_specks(stained & ~pen, params.min_area_um2 / mpp**2), pen


def _colour_limit(density: FloatImage, params: TissueParams) -> float:
    """The least colour that counts, raised where pixels that are as bright as glass are noisy."""
    bright = density.sum(axis=2) < 0.05
    if np.count_nonzero(bright) < 100:
        return params.min_colour
    colour = (density.max(axis=2) - density.min(axis=2))[bright]
    middle = np.median(colour)
    spread = 1.4826 * np.median(np.abs(colour - middle))
    return float(min(max(params.min_colour, middle + params.noise_factor * spread), 2.0 * params.min_colour))


def _strongest(colour: FloatImage) -> FloatImage:
    """The strongest colour next to each pixel."""
    return np.asarray(cv2.dilate(colour, np.ones((3, 3), np.uint8)), np.float32)


def _morph(mask: Mask, operation: int, radius_um: float, mpp: float) -> Mask:
    reach = round(radius_um / mpp)
    if reach < 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    # Repeated edges: a crop that cuts through tissue keeps it up to the edge.
    wide = cv2.copyMakeBorder(mask.astype(np.uint8), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    done = cv2.morphologyEx(wide, operation, kernel)
    return np.asarray(done[reach:-reach, reach:-reach].astype(bool))


def _filled(mask: Mask, max_px: float) -> Mask:
    n_parts, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= max_px
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        small[edge] = False  # what goes on beyond the image is no hole
    return np.asarray(mask | small[parts]) if n_parts > 1 else mask


def _without_specks(mask: Mask, min_px: float) -> Mask:
    n_parts, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= min_px
    large[0] = False
    return np.asarray(large[parts]) if n_parts > 1 else mask
