"""From densities to the picture a scanner would take of them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pellucid.cohort.synthetic.canvas import Part
from pellucid.cohort.synthetic.noise import Grey, sensor_noise, tiled
from pellucid.cohort.synthetic.stamps import DENSITY_UNIT
from pellucid.cohort.synthetic.tissue import Section

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A laboratory's stain and its scanner: what glass looks like, how dyes absorb R, G and B, how strongly."""

    white: Vector
    haematoxylin: Vector
    eosin: Vector
    gain_haematoxylin: float
    gain_eosin: float
    sharpness_px: float
    jpeg_quality: int


SCANNER_PROFILES: dict[str, Scanner] = {
    "SYN-A": Scanner(
        white=(243.0, 243.0, 244.0),
        haematoxylin=(0.66, 0.70, 0.30),
        eosin=(0.13, 0.86, 0.46),
        gain_haematoxylin=1.05,
        gain_eosin=1.10,
        sharpness_px=0.55,
        jpeg_quality=82,
    ),
    "SYN-B": Scanner(
        white=(246.0, 241.0, 240.0),
        haematoxylin=(0.56, 0.73, 0.38),
        eosin=(0.10, 0.82, 0.52),
        gain_haematoxylin=0.92,
        gain_eosin=1.35,
        sharpness_px=0.75,
        jpeg_quality=78,
    ),
    "SYN-C": Scanner(
        white=(232.0, 236.0, 240.0),
        haematoxylin=(0.72, 0.66, 0.24),
        eosin=(0.20, 0.84, 0.40),
        gain_haematoxylin=1.15,
        gain_eosin=0.90,
        sharpness_px=0.65,
        jpeg_quality=85,
    ),
}
_DAB: Vector = (0.31, 0.60, 0.79)
_COUNTERSTAIN: Vector = (0.70, 0.58, 0.30)


def expose(section: Section, scanner: Scanner, draw: np.random.Generator, *, immunostained: bool) -> NDArray[np.uint8]:
    """The picture `(side, side, 3) uint8` RGB of a section, by the Beer-Lambert law.

    Args:
        section: densities.
        scanner: stain and scanner.
        draw: the strength and hue of the batch's stain, and the noise.
        immunostained: brown chromogen on tumour with a pale blue counterstain, instead of haematoxylin and eosin.
    """
    first, second = np.exp(0.11 * draw.standard_normal(2)).tolist()
    if immunostained:
        dyes = [
            (section.haematoxylin, _COUNTERSTAIN, 0.55 * first),
            (_chromogen(section), _DAB, 1.5 * second),
        ]
    else:
        dyes = [
            (section.haematoxylin, _shifted(draw, scanner.haematoxylin), scanner.gain_haematoxylin * first),
            (section.eosin, _shifted(draw, scanner.eosin), scanner.gain_eosin * second),
        ]
    blurred = [
        (np.asarray(cv2.GaussianBlur(density, (3, 3), scanner.sharpness_px), np.uint8), vector, float(gain))
        for density, vector, gain in dyes
    ]
    channels = [_transmit(blurred, channel, scanner.white[channel]) for channel in range(3)]
    return _with_noise(np.asarray(cv2.merge(channels), np.uint8), draw)


def _transmit(dyes: list[tuple[Grey, Vector, float]], channel: int, white: float) -> Grey:
    density = np.arange(256) / DENSITY_UNIT
    (one, one_vector, one_gain), (two, two_vector, two_gain) = dyes
    through_one = np.round(white * np.exp(-density * one_vector[channel] * one_gain)).astype(np.uint8)
    through_two = np.round(255.0 * np.exp(-density * two_vector[channel] * two_gain)).astype(np.uint8)
    return np.asarray(cv2.multiply(cv2.LUT(one, through_one), cv2.LUT(two, through_two), scale=1.0 / 255.0))


def _with_noise(picture: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
    side = picture.shape[0]
    noise = tiled(sensor_noise(), side, side, *draw.integers(0, 1024, 2).tolist())
    return np.asarray(cv2.add(cv2.add(picture, noise), np.array([-8.0, -8.0, -8.0, 0.0])), np.uint8)


def _shifted(draw: np.random.Generator, vector: Vector) -> Vector:
    """The dye of this batch: the laboratory's, a little off."""
    red, green, blue = np.clip(np.asarray(vector) * np.exp(0.05 * draw.standard_normal(3)), 0.02, 1.0).tolist()
    return red, green, blue


def _chromogen(section: Section) -> Grey:
    """Chromogen in the cytoplasm of tumour, a pale background elsewhere."""
    tumour = ((section.parts == Part.SOLID) | (section.parts == Part.GLAND)).view(np.uint8) * np.uint8(230)
    amount = cv2.max(tumour, np.full_like(tumour, 80))
    return np.asarray(cv2.multiply(section.eosin, amount, scale=1.0 / 255.0))
