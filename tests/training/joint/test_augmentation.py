import cv2
import numpy as np
import pytest
import torch

from pellucid.training.joint.augmentation import TileChanges, change, changed_on_accelerator, draw_changes
from training.joint.joint_parts import make_pixels


def still(symmetry, sigma):
    return TileChanges(np.array(symmetry, dtype=bool), np.array(sigma, dtype=np.float32))


def test_what_happens_to_a_tile_depends_on_seed_step_and_tile_alone():
    drawn, others = draw_changes(1, 2, np.array([7, 9, 400])), draw_changes(1, 2, np.array([400, 1, 7]))
    np.testing.assert_array_equal(drawn.symmetry[[0, 2]], others.symmetry[[2, 0]])
    np.testing.assert_array_equal(drawn.sigma_px[[0, 2]], others.sigma_px[[2, 0]])
    many = np.arange(100)
    for seed, step in ((1, 3), (2, 2)):
        assert (draw_changes(seed, step, many).symmetry != draw_changes(1, 2, many).symmetry).any()


def test_all_eight_symmetries_come_up_alike_and_half_the_tiles_are_blurred_a_little():
    drawn = draw_changes(0, 0, np.arange(4000))
    counts = np.bincount(drawn.symmetry @ [1, 2, 4], minlength=8)
    assert abs(counts / 4000 - 1 / 8).max() < 0.03
    blurred = drawn.sigma_px[drawn.sigma_px > 0]
    assert abs(len(blurred) / 4000 - 0.5) < 0.04
    assert blurred.min() >= 0.1
    assert blurred.max() <= 1


def test_no_tile_draws_nothing():
    assert draw_changes(0, 0, np.arange(0)).symmetry.shape == (0, 3)


@pytest.mark.parametrize("changed_by", [change, changed_on_accelerator])
def test_symmetries_are_mirror_upend_and_swap(changed_by):
    tiles = make_pixels(8)
    symmetry = [[bool(code & bit) for bit in (1, 2, 4)] for code in range(8)]
    changed = changed_by(torch.from_numpy(tiles), still(symmetry, np.zeros(8))).numpy()
    for tile, made, (mirrored, upended, swapped) in zip(tiles, changed, symmetry, strict=True):
        wanted = tile[:, ::-1] if mirrored else tile
        wanted = wanted[::-1] if upended else wanted
        np.testing.assert_array_equal(made, wanted.swapaxes(0, 1) if swapped else wanted)
    assert len({made.tobytes() for made in np.concatenate([changed[:1]] * 2)}) == 1
    same = np.repeat(tiles[:1], 8, axis=0)
    assert (
        len({made.tobytes() for made in changed_by(torch.from_numpy(same), still(symmetry, np.zeros(8))).numpy()}) == 8
    )


@pytest.mark.parametrize("changed_by", [change, changed_on_accelerator])
def test_blur_is_gaussian_and_only_of_the_tiles_that_drew_it(changed_by):
    tiles = make_pixels(4)
    sigma = [0, 0.3, 0.7, 1.0]
    changed = changed_by(torch.from_numpy(tiles.copy()), still(np.zeros((4, 3)), sigma)).numpy()
    np.testing.assert_array_equal(changed[0], tiles[0])
    for tile, made, width in list(zip(tiles, changed, sigma, strict=True))[1:]:
        wanted = cv2.GaussianBlur(tile.astype(np.float32), (5, 5), width, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(made, wanted, atol=1.5)
        assert (made != tile).any()


@pytest.mark.parametrize("changed_by", [change, changed_on_accelerator])
def test_blur_of_a_tile_has_the_same_bits_whatever_else_is_in_its_chunk(changed_by):
    tiles, drawn = make_pixels(6), draw_changes(0, 0, np.arange(6))
    together = changed_by(torch.from_numpy(tiles.copy()), drawn)
    for row in range(6):
        alone = changed_by(torch.from_numpy(tiles[row : row + 1].copy()), drawn[row : row + 1])
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("changed_by", [change, changed_on_accelerator])
def test_pixels_that_were_given_stay_as_they_are(changed_by):
    tiles = make_pixels(4)
    given = torch.from_numpy(tiles.copy())
    changed_by(given, still(np.zeros((4, 3)), np.ones(4)))
    np.testing.assert_array_equal(given.numpy(), tiles)
