"""Optical density: how much each channel of light a stain takes away."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
_Value = TypeVar("_Value", np.float32, np.uint8)

_USUAL_GLASS = (243.0, 243.0, 243.0)
_MIN_BRIGHTNESS = 170
_MAX_SPREAD = 30
_MIN_SHARE = 0.005
_PEAK_SHARE = 0.1
_PEAK_HALF_WIDTH = 4
_FLOOR = 0.004
_FILL = 255

# Stain vectors of Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution", 2001.
_HAEMATOXYLIN = (0.65, 0.70, 0.29)
_EOSIN = (0.07, 0.99, 0.11)


def estimate_glass(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The colour of empty glass, `(3,) float32`.

    It is the brightest frequent colour among bright, nearly neutral pixels. Pure white, with which readers and scanners
    fill what was not scanned, counts only where there is no other. An image without glass gets a usual one, so a crop
    that is all tissue keeps its tissue.

    Args:
        rgb: `(h, w, 3)` at low resolution.
    """
    pixels = rgb.reshape(-1, 3)
    darkest, brightest = _extremes(pixels)
    bright = (darkest > _MIN_BRIGHTNESS) & (brightest - darkest < _MAX_SPREAD)
    scanned = bright & (darkest < _FILL)
    candidates = pixels[scanned] if np.count_nonzero(scanned) >= _MIN_SHARE * len(pixels) else pixels[bright]
    if len(candidates) < max(1.0, _MIN_SHARE * len(pixels)):
        return np.array(_USUAL_GLASS, np.float32)
    level = candidates.astype(np.float32) @ np.ones(3, np.float32) / 3.0
    counts = np.convolve(np.bincount(level.astype(np.int64), minlength=256), np.ones(3), mode="same")
    peak = int(np.flatnonzero(counts >= _PEAK_SHARE * counts.max()).max())
    peak = max(range(max(peak - 2 * _PEAK_HALF_WIDTH, 0), peak + 1), key=lambda value: (counts[value], value))
    near = candidates[np.abs(level - peak) <= _PEAK_HALF_WIDTH]
    return np.asarray(np.median(near, axis=0), np.float32)


def optical_density(rgb: NDArray[np.uint8], glass: NDArray[np.float32]) -> FloatImage:
    """-log10 of transmitted light by the Beer-Lambert law, `(..., 3) float32`, 0 on glass and where it is brighter.

    Args:
        rgb: `(..., 3)` pixels.
        glass: `(3,)` colour of empty glass.
    """
    table = -np.log10(np.clip(np.arange(256, dtype=np.float32)[:, None] / glass[None, :], _FLOOR, 1.0))
    channels = [table[rgb[..., channel], channel] for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def total_density(density: FloatImage) -> FloatImage:
    """The sum of the channels' densities, `(...)`, of `(..., 3)`."""
    return np.asarray(density[..., 0] + density[..., 1] + density[..., 2])


def density_spread(density: FloatImage) -> FloatImage:
    """How far the channels' densities lie apart, `(...)`, of `(..., 3)`: 0 for grey."""
    least, most = _extremes(density)
    return np.asarray(most - least)


def separate_stains(density: FloatImage) -> FloatImage:
    """Amounts of haematoxylin and eosin by colour deconvolution (Ruifrok and Johnston 2001), `(n, 2) float32`, >= 0.

    Args:
        density: `(n, 3)` optical densities.
    """
    vectors = np.array([_HAEMATOXYLIN, _EOSIN], np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    amounts = density.astype(np.float64) @ np.linalg.pinv(vectors)
    return np.clip(amounts, 0.0, None).astype(np.float32)


def resembles_he(density: FloatImage) -> NDArray[np.bool_]:
    """Whether each pixel's colour is a mixture of haematoxylin and eosin, `(n,) bool`.

    Eosin takes green away and haematoxylin green and red, so in a section stained with both green is missing most.
    Brown chromogens take blue away, a haematoxylin counterstain alone takes red most, carbon takes all alike.

    Args:
        density: `(n, 3)` optical densities, averaged over some 8 um so that nuclei and stroma mix.
    """
    red, green, blue = density[:, 0], density[:, 1], density[:, 2]
    return np.asarray((green >= 1.08 * red) & (green >= 1.2 * blue))


def hue_angle(density: FloatImage) -> FloatImage:
    """Hue of optical densities in degrees (HSD model, van der Laak and others 2000), `(n,) float32`, -180 to 180.

    Args:
        density: `(n, 3)` optical densities above 0.
    """
    mean = density.mean(axis=1)
    chroma_x = density[:, 0] / mean - 1.0
    chroma_y = (density[:, 1] - density[:, 2]) / (np.sqrt(3.0) * mean)
    return np.asarray(np.degrees(np.arctan2(chroma_y, chroma_x)), np.float32)


def _extremes(channels: NDArray[_Value]) -> tuple[NDArray[_Value], NDArray[_Value]]:
    """The least and greatest of the three channels; far faster than reducing an axis of three."""
    first, second, third = channels[..., 0], channels[..., 1], channels[..., 2]
    return np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)
