"""Small slides in JPEG tiles at 0.25 um/px, to stream tiles of 56 px at 0.5 um/px from; used by several processes."""

from pathlib import Path

import cv2
import numpy as np

from pellucid.cohort.synthetic.tiff import ScanHeader, pyramid, write_scan
from pellucid.domain.cohort import ScanEntry, Split
from pellucid.domain.encoder import EncoderSpec
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.slides import identify
from pellucid.training.survey import SurveyedScan

SIDE, TILE_PX, LEVEL0_PX, QUALITY = 1120, 56, 112, 80
COLUMNS = SIDE // LEVEL0_PX


def spec():
    return EncoderSpec(
        id="test",
        architecture="none",
        weights_digest="0" * 64,
        tile_px=TILE_PX,
        mpp=0.5,
        input_px=TILE_PX,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        dim=8,
        batch_size=8,
        licence="Apache-2.0",
        scope="tests",
    )


def write_slide(path, seed, *, spoil=()):
    """A slide of coloured clouds; `spoil` names stored level-0 tiles whose bytes are garbage."""
    small = np.random.default_rng(seed).integers(0, 256, (35, 35, 3)).astype(np.uint8)
    picture = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)

    def spoilt(tiles):
        return [b"\xff\xd8" + b"no jpeg " * 40 if nth in spoil else tile for nth, tile in enumerate(tiles)]

    header = ScanHeader(title="t", scanner="SYN-A", mpp=0.25, objective=None, quality=QUALITY, generic=True)
    write_scan(path, pyramid(picture, QUALITY, spoilt), picture, header)
    return path


def surveyed(path, label):
    """The scan with a grid over all of it."""
    y, x = np.divmod(np.arange(COLUMNS * COLUMNS), COLUMNS)
    name = path.stem
    return SurveyedScan(
        entry=ScanEntry(
            case=name, specimen=name, block="A1", slide=name, path=path, patient=name, split=Split.TRAINING, label=label
        ),
        label=label,
        digest=identify(path).digest,
        scale=Scale(mpp_x=0.25, mpp_y=0.25, source=ScaleSource.FILE, detail="test"),
        grid=TileGrid(
            coords=(np.stack([x, y], axis=1) * LEVEL0_PX).astype(np.int32),
            tissue_fraction=np.ones(len(x), np.float32),
            level0_px=LEVEL0_PX,
            tile_px=TILE_PX,
            mpp=0.5,
            columns=COLUMNS,
            rows=COLUMNS,
        ),
        features={},
    )


def all_scans(folder: Path):
    """The scans of a folder, their labels in turn."""
    return [surveyed(path, nth % 2) for nth, path in enumerate(sorted(folder.glob("*.tif")))]


def fill(folder, count=6, **spoil):
    """Write `count` slides s0, s1, ...; `s2=(1, 2)` spoils stored tiles of one."""
    for nth in range(count):
        write_slide(folder / f"s{nth}.tif", nth, spoil=spoil.get(f"s{nth}", ()))
    return folder
