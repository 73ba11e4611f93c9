import numpy as np

from pellucid.domain.cohort import Cohort
from pellucid.domain.grid import TileGrid
from pellucid.domain.scan import Scale, ScaleSource
from pellucid.training.truth import truth_of, tumour_share


def grid_of(*corners):
    return TileGrid(
        coords=np.array(corners, np.int32),
        tissue_fraction=np.ones(len(corners), np.float32),
        level0_px=448,
        tile_px=224,
        mpp=0.5,
        columns=9,
        rows=9,
    )


def test_share_is_of_the_tissue_in_the_tile():
    # cells of 8 um: a tile of 448 px at 0.25 um/px spans 14 x 14 of them
    mask = np.zeros((42, 56), np.uint8)
    mask[:14, :14] = 2
    mask[:14, 14:28] = 1
    mask[:7, 14:28] = 2
    mask[14:28, :7] = 2
    scale = Scale(mpp_x=0.25, mpp_y=0.25, source=ScaleSource.FILE, detail="aperio.MPP")
    share = tumour_share(mask, 8.0, grid_of((0, 0), (448, 0), (0, 448), (896, 896), (1700, 1300)), scale)
    assert share.dtype == np.float32
    np.testing.assert_array_equal(share, np.array([1, 0.5, 1, 0, 0], np.float32))


def test_tumour_of_a_real_cohort_is_unknown(scans):
    assert truth_of(Cohort(entries=(), name="real"))(scans(0)) is None


def test_synthetic_scan_without_its_mask_is_unknown(scans):
    assert truth_of(Cohort(entries=(), name="demo", synthetic=True))(scans(0)) is None
