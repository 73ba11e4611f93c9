"""Slides for tests: a small writer of tiled JPEG TIFF, and scenes whose truth is known."""

import io
import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from pellucid.core.seeds import generator

SHARED = Path(__file__).parents[3] / "shared" / "data"
TILE = 256
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.10, 0.85, 0.45])
DAB = np.array([0.31, 0.60, 0.79])
PENS = {"blue": (38, 92, 200), "green": (24, 150, 90), "black": (34, 34, 44), "red": (196, 40, 48)}


@dataclass(frozen=True)
class Scene:
    """A picture `(h, w, 3) uint8`, its um/px, and the truth: tissue without ink, and ink."""

    rgb: np.ndarray
    mpp: float
    tissue: np.ndarray
    ink: np.ndarray


def write_slide(
    path: Path,
    rgb: np.ndarray,
    *,
    mpp=None,
    mpp_y=None,
    description=None,
    levels=1,
    spoil=(),
    absent=(),
    make=None,
    form="whole",
    sampling="444",
) -> Path:
    """Write a pyramid of tiled JPEG TIFF.

    `spoil` names the level-0 tiles whose bytes are garbage, `absent` those that were left out. `form` is how tiles
    are coded: as `whole` JPEGs; with `tables` that they share; as `rgb`, with tables and with colours that were not
    transformed, which nothing in the data says, as some scanners do; or as a `lie`: the data say so, but the file says
    that they were.
    """
    data, offsets = bytearray(b"II*\0\0\0\0\0"), []
    picture = rgb
    for level in range(levels):
        tables, tiles = _tiles(picture, form, sampling)
        if level == 0:
            tiles = [b"" if nth in absent else tile for nth, tile in enumerate(tiles)]
            for nth in spoil:
                tiles[nth] = b"\xff\xd8" + b"no jpeg " * 40
        photometric = 2 if form == "rgb" else 6
        offsets.append(
            _directory(data, picture, tiles, level, mpp, mpp_y, description, make, photometric, tables, sampling)
        )
        size = max(1, picture.shape[1] // 4), max(1, picture.shape[0] // 4)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    struct.pack_into("<I", data, 4, offsets[0][0])
    for (_, link), (following, _) in itertools.pairwise(offsets):
        struct.pack_into("<I", data, link, following)
    path.write_bytes(data)
    return path


def _tiles(picture, form, sampling):
    """Tables that all tiles share, and the tiles."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    squares = [
        np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])
        for y in range(0, height, TILE)
        for x in range(0, width, TILE)
    ]
    if form == "whole":
        return b"", [simplejpeg.encode_jpeg(square, quality=92, colorsubsampling=sampling) for square in squares]
    subsampling = {"444": 0, "422": 1, "420": 2}[sampling]
    tables, *tiles = [
        _saved(square, quality=80, streamtype=kind, subsampling=subsampling, keep_rgb=form in ("rgb", "lie"))
        for kind, square in [(1, squares[0]), *((2, square) for square in squares)]
    ]
    return tables, [_without_colours(tile) if form == "rgb" else tile for tile in tiles]


def _saved(square, **how):
    file = io.BytesIO()
    Image.fromarray(square).save(file, "JPEG", **how)
    return file.getvalue()


def _without_colours(tile):
    """A JPEG without its Adobe marker, its components numbered instead of called R, G and B."""
    start = tile.index(b"\xff\xee")
    tile = tile[:start] + tile[start + 16 :]
    tile = tile.replace(b"\x03R\x11\0G\x11\0B\x11\0", b"\x03\x01\x11\0\x02\x11\0\x03\x11\0", 1)
    return tile.replace(b"\x03R\0G\0B\0", b"\x03\x01\0\x02\0\x03\0", 1)


def _directory(data, picture, tiles, level, mpp, mpp_y, description, make, photometric, tables, sampling):
    places, counts = [], [len(tile) for tile in tiles]
    for tile in tiles:
        places.append(len(data))
        data += tile
    height, width = picture.shape[:2]
    entries = [
        (254, 4, [1 if level else 0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [7]),
        (262, 3, [photometric]), (277, 3, [3]), (322, 4, [TILE]), (323, 4, [TILE]), (324, 4, places), (325, 4, counts),
    ]  # fmt: skip
    if photometric == 6:
        entries.append((530, 3, {"444": [1, 1], "422": [2, 1], "420": [2, 2]}[sampling]))
    if tables:
        entries.append((347, 7, tables))
    if description and level == 0:
        entries.append((270, 2, description.encode() + b"\0"))
    if make and level == 0:
        entries.append((271, 2, make.encode() + b"\0"))
    if mpp is not None:
        entries += [(282, 5, [10_000_000, round(mpp * 1000)]), (283, 5, [10_000_000, round((mpp_y or mpp) * 1000)])]
        entries.append((296, 3, [3]))
    packed = []
    for tag, kind, values in sorted(entries):
        raw = values if kind in (2, 7) else struct.pack("<" + {3: "H", 4: "I", 5: "I"}[kind] * len(values), *values)
        count = len(values) // 2 if kind == 5 else len(values)
        if len(raw) > 4:
            data += b"\0" * (len(data) % 2)
            field, place = struct.pack("<I", len(data)), raw
            data += place
        else:
            field = raw.ljust(4, b"\0")
        packed.append(struct.pack("<HHI", tag, kind, count) + field)
    data += b"\0" * (len(data) % 2)
    start = len(data)
    data += struct.pack("<H", len(packed)) + b"".join(packed)
    link = len(data)
    data += b"\0\0\0\0"
    return start, link


def stained(haematoxylin: np.ndarray, eosin: np.ndarray, glass=(243.0, 243.0, 244.0), second=EOSIN) -> np.ndarray:
    """The picture of densities by the Beer-Lambert law (base 10), with a little sensor noise."""
    density = haematoxylin[..., None] * HAEMATOXYLIN + eosin[..., None] * second
    noise = generator("sensor", *haematoxylin.shape).normal(0.0, 1.2, (*haematoxylin.shape, 3))
    return np.clip(np.asarray(glass) * 10.0**-density + noise, 0, 255).astype(np.uint8)


def texture(shape: tuple[int, int], mpp: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and eosin of a cellular tissue that fills an image: nuclei of 7 um in wavy stroma."""
    draw = generator("texture", seed)
    nuclei = np.zeros(shape, np.float32)
    for _ in range(int(shape[0] * shape[1] * mpp**2 / 250.0)):
        centre = (int(draw.integers(0, shape[1])), int(draw.integers(0, shape[0])))
        axes = (max(1, round(3.8 / mpp)), max(1, round(2.8 / mpp)))
        cv2.ellipse(nuclei, centre, axes, float(draw.uniform(0, 180)), 0, 360, float(draw.uniform(0.4, 0.8)), -1)
    waves = cv2.GaussianBlur(draw.normal(0, 1, shape).astype(np.float32), (0, 0), 2.0 / mpp)
    eosin = np.clip(0.22 + 0.09 * waves / waves.std(), 0.03, None).astype(np.float32)
    return cv2.GaussianBlur(nuclei, (0, 0), 0.6), eosin


def _over(shape, mpp, tissue, seed=0, pale=1.0, **kwargs):
    nuclei, eosin = texture(shape, mpp, seed)
    return stained(pale * nuclei * tissue, pale * eosin * tissue, **kwargs)


def draw_scene(kind: str, mpp: float = 4.0) -> Scene:
    """A scene of some 5 x 3 mm on glass: `section`, `needle_cores`, `cell_block`, `empty`, or any with a pen colour."""
    shape = round(3000 / mpp), round(5000 / mpp)
    tissue = np.zeros(shape, np.uint8)
    draw = generator("scene", kind)
    px = 1.0 / mpp
    if kind == "needle_cores":
        for y in (600, 1500, 2300):
            points = [(x * px, (y + 60 * np.sin(x / 500.0)) * px) for x in range(400, 4600, 20)]
            cv2.polylines(tissue, [np.array(points, np.int32)], isClosed=False, color=1, thickness=round(500 * px))
    elif kind == "cell_block":
        for _ in range(40):
            centre = (int(draw.uniform(300, 4700) * px), int(draw.uniform(300, 2700) * px))
            axes = (int(draw.uniform(70, 200) * px), int(draw.uniform(70, 160) * px))
            cv2.ellipse(tissue, centre, axes, float(draw.uniform(0, 180)), 0, 360, 1, -1)
    elif kind != "empty":
        cv2.ellipse(
            tissue, (round(2400 * px), round(1500 * px)), (round(1700 * px), round(1000 * px)), 10, 0, 360, 1, -1
        )
    rgb = _over(shape, mpp, tissue, pale=0.5 if kind == "needle_cores" else 1.0)
    rgb = _with_shadow_and_coverslip(rgb, px)
    ink = np.zeros(shape, np.uint8)
    if kind in PENS:
        points = [(x * px, (1500 + 900 * np.sin(x / 300.0)) * px) for x in range(600, 4400, 10)]
        cv2.polylines(ink, [np.array(points, np.int32)], isClosed=False, color=1, thickness=round(220 * px))
        colour = np.asarray(PENS[kind], np.float32) / 255.0
        rgb = np.where(ink[..., None] > 0, rgb * colour, rgb).astype(np.uint8)
    return Scene(rgb=rgb, mpp=mpp, tissue=(tissue > 0) & (ink == 0), ink=ink > 0)


def _with_shadow_and_coverslip(rgb, px):
    """A soft grey shadow in a corner, and the dark line of a coverslip's edge down the right side."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    shadow = 1.0 - 0.25 * np.exp(-((x / (900 * px)) ** 2 + ((y - height) / (700 * px)) ** 2))
    rgb = (rgb * shadow[..., None]).astype(np.uint8)
    column = round(4850 * px)
    rgb[:, column : column + max(1, round(12 * px))] = (62, 60, 64)
    return rgb


@pytest.fixture(scope="session")
def slide_file() -> Callable[..., Path]:
    return write_slide


@pytest.fixture(scope="session")
def scene() -> Callable[..., Scene]:
    return draw_scene


@pytest.fixture(scope="session")
def tissue_picture() -> Callable[..., np.ndarray]:
    """A picture that is all tissue: `(side, mpp, seed, stain)` to `(side, side, 3) uint8`; stain `he` or `ihc`."""

    @cache
    def draw(side: int, mpp: float, seed: int, stain: str) -> np.ndarray:
        nuclei, eosin = texture((side, side), mpp, seed)
        return stained(nuclei, eosin, second=EOSIN if stain == "he" else DAB)

    def make(side: int, mpp: float = 0.5, seed: int = 0, stain: str = "he") -> np.ndarray:
        return draw(side, mpp, seed, stain).copy()

    return make


@pytest.fixture(scope="session")
def section(tmp_path_factory, tissue_picture) -> Path:
    """A clean slide at 0.5 um/px, 1536 x 1280: tissue with a margin of glass on the left; two levels."""
    rgb = np.full((1280, 1536, 3), 243, np.uint8)
    rgb[:, 256:] = tissue_picture(1280)
    path = tmp_path_factory.mktemp("slides") / "section.tif"
    return write_slide(path, rgb, mpp=0.5, levels=2, description="Pellucid synthetic scan")


@pytest.fixture(scope="session")
def real_tiles() -> Path:
    if not (SHARED / "tiles").is_dir():
        pytest.skip("the real tiles of ../shared/data are not here")
    return SHARED / "tiles"
