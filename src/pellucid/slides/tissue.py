"""Where a scan holds tissue."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.slides.overview import read_overview
from pellucid.slides.pen import find_pen
from pellucid.slides.protocol import Slide
from pellucid.slides.scale import require_scale
from pellucid.slides.stain import FloatImage, density_spread, estimate_glass, optical_density, total_density

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueParams:
    """How tissue is found; lengths in um, areas in um2.

    `mpp` is the um/px to work at. `min_colour` is the least difference of optical density between the channels that
    counts as stain, and `noise_factor` how often it must exceed the noise of empty glass. `smooth_um` is the
    standard deviation of the blur before that; `edge_share` is the share of the strongest colour next to it that a
    pixel must have, so that the blur of a dark edge isn't tissue. `close_um` bridges gaps of up to twice its length,
    holes below `hole_um2` are filled, parts below `min_area_um2` or thinner than `min_width_um` are dropped.

    Next to tissue less will do: `pale_share` of the least colour, where the sum of the channels' densities is at least
    `min_density` and varies by `min_grain` (a standard deviation) within some `grain_um`.
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
    pale_share: float = 0.3
    min_density: float = 0.05
    min_grain: float = 0.02
    grain_um: float = 16.0


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


DEFAULT_PARAMS = TissueParams()


def find_tissue(slide: Slide, params: TissueParams = DEFAULT_PARAMS) -> TissueMap:
    """Find tissue and ink on a scan's overview.

    Stain has a colour and glass, shadow, dust and a coverslip's edge have none, so tissue is where the channels'
    optical densities differ by a fixed amount, more where glass is noisy. No threshold is fitted to the image's
    contrast: an empty slide stays empty, and a crop that is all tissue stays tissue.

    Two dyes of opposite hue, such as a blue counterstain and a brown chromogen, mix to a grey with hardly any colour.
    So from what surely is tissue the mask goes on into what is less coloured, but as grainy as only tissue is.

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


def judge_image(rgb: NDArray[np.uint8], *, mpp: float, params: TissueParams = DEFAULT_PARAMS) -> TileJudgement:
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


def segment(density: FloatImage, mpp: float, params: TissueParams = DEFAULT_PARAMS) -> tuple[Mask, Mask]:
    """Tissue without ink, and ink, both `(h, w) bool`.

    Args:
        density: `(h, w, 3)` optical densities.
        mpp: um/px.
        params: see there.
    """
    pen = find_pen(density, mpp)
    colour, total = density_spread(density), total_density(density)
    limit = _colour_limit(colour, total, params)
    colour = _blurred(colour, params.smooth_um / mpp)
    distinct = (colour > params.edge_share * _strongest(colour)) & ~pen
    sure = _without_thin(_bridged(distinct & (colour > limit), params, mpp) & ~pen, params, mpp)
    sure = _without_specks(_filled(sure, params.hole_um2 / mpp**2) & ~pen, params.min_area_um2 / mpp**2)
    pale = distinct & (colour > params.pale_share * limit) & _grainy(total, params, mpp)
    # Holes are filled first: the walls between fat cells are thinner than any tissue, the net they make is not.
    net = _filled(_bridged(sure | pale, params, mpp) & ~pen, params.hole_um2 / mpp**2) & ~pen
    return _touching(_without_thin(net, params, mpp) & ~pen, sure), pen


def _colour_limit(colour: FloatImage, total: FloatImage, params: TissueParams) -> float:
    """The least colour that counts, raised where pixels that are as bright as glass are noisy."""
    bright = total < 0.05
    if np.count_nonzero(bright) < 100:
        return params.min_colour
    empty = colour[bright]
    middle = np.median(empty)
    spread = 1.4826 * np.median(np.abs(empty - middle))
    return float(min(max(params.min_colour, middle + params.noise_factor * spread), 2.0 * params.min_colour))


def _grainy(total: FloatImage, params: TissueParams, mpp: float) -> Mask:
    """Where the summed density is high enough and uneven, as in tissue and unlike a shadow or a film of mountant."""
    mean = _blurred(total, params.grain_um / mpp)
    variance = _blurred(total * total, params.grain_um / mpp) - mean * mean
    return np.asarray((total > params.min_density) & (variance > params.min_grain**2))


def _blurred(image: FloatImage, sigma_px: float) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.3)), np.float32)


def _touching(mask: Mask, seeds: Mask) -> Mask:
    """The connected parts of a mask that hold a seed, and the seeds."""
    n_parts, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    keep = np.bincount(parts[seeds], minlength=n_parts) > 0
    keep[0] = False
    return np.asarray(keep[parts] | seeds)


def _bridged(mask: Mask, params: TissueParams, mpp: float) -> Mask:
    return _morph(mask, cv2.MORPH_CLOSE, params.close_um, mpp)


def _without_thin(mask: Mask, params: TissueParams, mpp: float) -> Mask:
    return _morph(mask, cv2.MORPH_OPEN, params.min_width_um / 2.0, mpp)


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
