"""Noise and texture: smooth fields a slide long, and seamless textures that are drawn once a process."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.core.seeds import generator

Grey = NDArray[np.uint8]
Field = NDArray[np.float32]

TEXTURE_UM = 512
"""Side of a seamless texture."""
_TEXTURE_PX = 1024


def smooth_field(draw: np.random.Generator, rows: int, columns: int, scale: float) -> Field:
    """A smooth random field `(rows, columns) float32` with mean 0, sd 1 and bumps of about `scale` pixels."""
    coarse = (int(np.ceil(rows / scale)) + 3, int(np.ceil(columns / scale)) + 3)
    grid = draw.standard_normal(coarse).astype(np.float32)
    grown = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    top, left = (int(draw.integers(0, max(1, int(scale)))) for _ in range(2))
    field = np.asarray(grown[top : top + rows, left : left + columns])
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)


@lru_cache(maxsize=16)
def fibres(pattern: int, px_per_um: int) -> Grey:
    """Collagen as a seamless texture of eosin density, `uint8` where 128 is the mean of a fibre and 0 a cleft."""
    draw = generator("fibre texture", pattern)
    bundles = _seamless(draw, along_um=26.0, across_um=2.8)
    strands = _seamless(draw, along_um=14.0, across_um=0.9)
    clefts = _seamless(draw, along_um=20.0, across_um=2.2)
    density = 1.0 + 0.20 * bundles + 0.13 * strands
    density *= np.clip((1.45 - clefts) * 1.5, 0.04, 1.0)
    return _finish(_wave(draw, density), px_per_um, gain=128.0)


@lru_cache(maxsize=4)
def granules(px_per_um: int) -> Grey:
    """Fine cytoplasmic grain as a seamless texture, `uint8` with mean 128."""
    draw = generator("granule texture")
    grain = 0.55 * _seamless(draw, along_um=0.8, across_um=0.8) + 0.7 * _seamless(draw, along_um=3.0, across_um=3.0)
    return _finish((1.0 + 0.17 * grain).astype(np.float32), px_per_um, gain=128.0)


@lru_cache(maxsize=1)
def sensor_noise() -> Grey:
    """Noise of a camera as `(1024, 1024, 3) uint8` around 8, blurred as demosaicking does, with sd of about 1.3."""
    draw = generator("sensor noise")
    noise = cv2.GaussianBlur(draw.standard_normal((1024, 1024, 3)).astype(np.float32), (3, 3), 0.5)
    return np.asarray(np.clip(8.0 + 1.3 * noise / noise.std(), 0, 16).round(), dtype=np.uint8)


def tiled(texture: Grey, rows: int, columns: int, top: int, left: int) -> Grey:
    """`rows` x `columns` of a seamless texture, starting at any offset."""
    height, width = texture.shape[:2]
    rolled = np.roll(texture, (-(top % height), -(left % width)), axis=(0, 1))
    down, right = max(rows - height, 0), max(columns - width, 0)
    return np.asarray(cv2.copyMakeBorder(rolled, 0, down, 0, right, cv2.BORDER_WRAP)[:rows, :columns], np.uint8)


def _seamless(draw: np.random.Generator, *, along_um: float, across_um: float) -> Field:
    """Gaussian noise with the given correlation lengths, periodic in both directions."""
    px_um = TEXTURE_UM / _TEXTURE_PX
    frequency = np.fft.fftfreq(_TEXTURE_PX, d=px_um).astype(np.float32)
    half = np.fft.rfftfreq(_TEXTURE_PX, d=px_um).astype(np.float32)
    envelope = np.exp(-2.0 * (np.pi * across_um * frequency[:, None]) ** 2 - 2.0 * (np.pi * along_um * half) ** 2)
    white = draw.standard_normal((_TEXTURE_PX, _TEXTURE_PX)).astype(np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * envelope, s=white.shape)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _wave(draw: np.random.Generator, texture: Field) -> Field:
    """The texture with its fibres bent into waves and slanted, still seamless."""
    sway = 34.0 * _seamless(draw, along_um=34.0, across_um=40.0) + 7.0 * _seamless(draw, along_um=9.0, across_um=12.0)
    rows, columns = np.mgrid[0:_TEXTURE_PX, 0:_TEXTURE_PX].astype(np.float32)
    bent = cv2.remap(texture, columns, np.mod(rows + sway, _TEXTURE_PX), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    slant = int(draw.integers(-1, 2))
    index = (np.arange(_TEXTURE_PX)[:, None] + slant * np.arange(_TEXTURE_PX)[None, :]) % _TEXTURE_PX
    slanted = np.take_along_axis(np.asarray(bent), index, axis=0)
    return np.ascontiguousarray(slanted.T if draw.random() < 0.5 else slanted)


def _finish(texture: Field, px_per_um: int, *, gain: float) -> Grey:
    grey: Grey = np.clip(texture * gain, 0, 255).astype(np.uint8)
    if px_per_um == 2:
        return grey
    side = TEXTURE_UM * px_per_um
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_LINEAR))
