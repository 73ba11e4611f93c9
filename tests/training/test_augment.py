import numpy as np
import torch

from pellucid.core.seeds import generator
from pellucid.training.augment import augment
from pellucid.training.determinism import deterministic, torch_generator


def tiles(count=4):
    return generator("augment").integers(60, 250, (count, 64, 64, 3), dtype=np.uint8)


def test_augmented_tiles_are_cut_and_in_range():
    cut = augment(tiles(), 40, torch_generator("a"))
    assert cut.shape == (4, 40, 40, 3)
    assert float(cut.min()) >= 0
    assert float(cut.max()) <= 1


def test_same_generator_gives_the_same_tiles_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, again = augment(tiles(), 40, torch_generator("a")), augment(tiles(), 40, torch_generator("a"))
    other = augment(tiles(), 40, torch_generator("b"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_tile_is_stained_on_its_own_and_glass_stays_pale():
    glass = np.full((16, 32, 32, 3), 255, dtype=np.uint8)
    tissue = np.full((16, 32, 32, 3), (170, 110, 170), dtype=np.uint8)
    source = torch_generator("stain")
    assert float(augment(glass, 32, source).min()) > 0.85
    colours = augment(tissue, 32, source)[:, 0, 0]
    assert len({tuple(colour.tolist()) for colour in colours}) == 16
    assert float((colours - torch.tensor([170, 110, 170]) / 255).abs().max()) < 0.25


def test_all_eight_orientations_occur():
    corner = np.full((200, 8, 8, 3), 255, dtype=np.uint8)
    corner[:, 0, 1] = 0
    turned = augment(corner, 8, torch_generator("turn"))[..., 1]
    places = {int(tile.argmin()) for tile in turned}
    assert places == {1, 6, 8, 15, 48, 55, 57, 62}


def test_torchs_settings_are_put_back():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with deterministic(1):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
