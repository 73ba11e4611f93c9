from pathlib import Path

import numpy as np
import pytest

from pellucid.core.seeds import generator
from pellucid.domain.cohort import ScanEntry, Split
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.encoders import Bag
from pellucid.training.bags import EmbeddedScan
from pellucid.training.survey import SurveyedScan


def make_entry(number, label=0, split=Split.TRAINING, **changes):
    values = {
        "case": f"C{number}",
        "specimen": f"C{number}-A",
        "block": "A1",
        "slide": f"S{number}",
        "path": Path(f"{number}.svs"),
        "patient": f"P{number}",
        "split": split,
        "label": label,
        "row": number + 2,
    }
    return ScanEntry(**(values | changes))


def make_scan(number, label=0, split=Split.TRAINING, n_tiles=12, **changes):
    grid = TileGrid(
        coords=np.stack([np.arange(n_tiles) * 224, np.zeros(n_tiles)], axis=1).astype(np.int32),
        tissue_fraction=np.ones(n_tiles, np.float32),
        level0_px=224,
        tile_px=224,
        mpp=0.5,
        columns=n_tiles,
        rows=1,
    )
    return SurveyedScan(
        entry=make_entry(number, label, split, **changes),
        label=label,
        digest=f"{number:064x}",
        scale=Scale(mpp_x=0.5, mpp_y=0.5, source=ScaleSource.FILE, detail="aperio.MPP"),
        grid=grid,
        features={"focus": 0.5 + 0.01 * number},
    )


def make_bag(number, label=0, split=Split.TRAINING, dim=8, shift=1.0, **changes):
    """A bag in which a third of the tiles carry the label."""
    scan = make_scan(number, label, split, **changes)
    n = len(scan.grid)
    features = generator("bag", number).normal(size=(n, dim)) * 0.5
    features[: n // 3, 0] += shift * (2 * label - 1)
    return EmbeddedScan(
        scan=scan,
        bag=Bag(features=features.astype(np.float16), coords=scan.grid.coords, provenance={"scan": "x"}),
        tiles=np.arange(n),
    )


@pytest.fixture(scope="session")
def entries():
    return make_entry


@pytest.fixture(scope="session")
def scans():
    return make_scan


@pytest.fixture(scope="session")
def bags():
    return make_bag


@pytest.fixture(scope="session")
def silent():
    return lambda stage, done, total: None
