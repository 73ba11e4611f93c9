"""Whether a tile is in focus."""

import cv2
import numpy as np
from numpy.typing import NDArray

_FINE_UM = 0.5
_COARSE_UM = 2.0
_MIN_SIGMA_PX = 0.7
_MIN_CONTRAST = 0.5
IN_FOCUS = 0.42
"""CMU-1, TCGA-CR-7395 and four scanners' crops have 0.55 to 1.2, the same blurred by 2 um at most 0.3."""


def measure_focus(tile: NDArray[np.uint8], mpp: float) -> float:
    """How much fine detail a tile has beside its coarse detail; above 0.42 it is in focus.

    The ratio of the standard deviations of two band-passes (differences of Gaussians) at 0.5 and 2 um: blur takes the
    fine one first, while stain, contrast and the amount of tissue change both alike. A tile without any detail has 0.

    Args:
        tile: `(h, w, 3) uint8`.
        mpp: its um/px.
    """
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY).astype(np.float32)
    coarse = _band(grey, _COARSE_UM / mpp)
    if coarse < _MIN_CONTRAST:
        return 0.0
    return _band(grey, max(_FINE_UM / mpp, _MIN_SIGMA_PX)) / coarse


def _band(grey: NDArray[np.float32], sigma: float) -> float:
    return float((cv2.GaussianBlur(grey, (0, 0), sigma) - cv2.GaussianBlur(grey, (0, 0), 2.0 * sigma)).std())
