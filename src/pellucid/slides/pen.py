"""Pen and other ink, told from stained tissue by the direction of its optical density.

In H&E green light is missing most, blue about 0.6 of green. Green and blue pens take red most, red pens take blue
nearly as much as green and hardly any red, black pens take all alike and much. The limits lie between
tissue and pen as measured on 15 real tiles and on CMU-1 and TCGA-CR-7395; the tests of this room pin them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.slides.stain import FloatImage, density_spread, total_density

Mask = NDArray[np.bool_]

_MIN_AREA_UM2 = 4_000.0
_MIN_THICKNESS_UM = 40.0
_HALO_UM = 16.0


def find_pen(density: FloatImage, mpp: float) -> Mask:
    """Where there is ink, `(h, w) bool`, with the halo around it.

    A stroke is what is connected to a pixel that surely is ink. Strokes below 4,000 um2 and dark lines thinner than
    40 um (a coverslip's edge, a hair, a scratch) are not pen.

    Args:
        density: `(h, w, 3)` optical densities at some 8 um/px.
        mpp: um/px.
    """
    total = total_density(density)
    red, green, blue = (density[..., channel] for channel in range(3))
    spread = density_spread(density)
    pen = _strokes(_sure_cold(total, red, green), _maybe_cold(total, red, green), mpp)
    pen |= _strokes(_sure_red(total, red, green, blue), _maybe_red(total, red, green, blue), mpp)
    pen |= _strokes(_grey(spread, total, 1.8, 0.30), _grey(spread, total, 1.2, 0.42), mpp)
    return _with_halo(pen, mpp)


def _sure_cold(total: FloatImage, red: FloatImage, green: FloatImage) -> Mask:
    return ((total > 0.3) & (red > 1.7 * green)) | ((total > 1.0) & (red > 1.35 * green))


def _maybe_cold(total: FloatImage, red: FloatImage, green: FloatImage) -> Mask:
    # Dark and as red-absorbing as green-absorbing: ink over dense tissue, where it is connected to ink over glass.
    return ((total > 0.15) & (red > 1.4 * green)) | ((total > 0.9) & (red > 0.95 * green))


def _sure_red(total: FloatImage, red: FloatImage, green: FloatImage, blue: FloatImage) -> Mask:
    return (total > 0.5) & (blue > 0.76 * green) & (blue < 1.03 * green) & (red < 0.15 * total)


def _maybe_red(total: FloatImage, red: FloatImage, green: FloatImage, blue: FloatImage) -> Mask:
    return (total > 0.25) & (blue > 0.72 * green) & (blue < 1.06 * green) & (red < 0.30 * total)


def _grey(spread: FloatImage, total: FloatImage, darkness: float, max_spread: float) -> Mask:
    return np.asarray((total > darkness) & (spread < max_spread * total / 3.0))


def _strokes(sure: Mask, maybe: Mask, mpp: float) -> Mask:
    """Connected parts of `maybe` that hold a sure pixel and are large and thick enough."""
    if not sure.any():
        return np.zeros_like(sure)
    candidates = sure | maybe
    n_parts, parts, stats, _ = cv2.connectedComponentsWithStats(candidates.astype(np.uint8), connectivity=8)
    has_sure = np.bincount(parts[sure], minlength=n_parts) > 0
    depth = cv2.distanceTransform(candidates.astype(np.uint8), cv2.DIST_L2, 3)
    thickness = np.zeros(n_parts, np.float32)
    np.maximum.at(thickness, parts.astype(np.int64).ravel(), np.asarray(depth, np.float32).ravel())
    keep = has_sure & (stats[:, cv2.CC_STAT_AREA] * mpp**2 >= _MIN_AREA_UM2)
    keep &= 2.0 * thickness * mpp >= _MIN_THICKNESS_UM
    keep[0] = False
    return np.asarray(keep[parts])


def _with_halo(pen: Mask, mpp: float) -> Mask:
    reach = max(1, round(_HALO_UM / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(pen.astype(np.uint8), kernel).astype(bool))
