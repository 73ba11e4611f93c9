import numpy as np
import pytest
import torch

from pellucid.core.seeds import generator
from pellucid.encoders import SMALL_SPEC, load_encoder, small_spec, state_digest
from pellucid.training import EncoderTraining, TrainingConfig
from pellucid.training.determinism import deterministic
from pellucid.training.encoder_loop import class_weights, train_encoder
from pellucid.training.tiles import TileSet

CONFIG = TrainingConfig(encoder=EncoderTraining(epochs=3, batch_size=16, crop_px=96))


@pytest.fixture(scope="module")
def tiles():
    """Tumour tiles are striped, mutated ones finely."""
    draw = generator("encoder tiles")
    tumour, label = np.arange(64) % 2, np.arange(64) // 2 % 2
    pixels = draw.integers(180, 230, (64, 224, 224, 3), dtype=np.uint8)
    for row in range(64):
        if tumour[row]:
            pixels[row, :: 8 if label[row] else 24] -= 90
    return TileSet(pixels=pixels, tumour=tumour.astype(np.int8), label=label.astype(np.int8))


@pytest.fixture(scope="module")
def trained(tiles):
    seen = []
    with deterministic(1):
        state, losses = train_encoder(tiles, SMALL_SPEC, CONFIG, lambda *step: seen.append(step))
    return state, losses, seen


def test_loss_falls_and_embeddings_tell_the_classes_apart(tiles, trained):
    state, losses, _ = trained
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.1
    embedded = load_encoder(small_spec(state_digest(state)), state).encode(tiles.pixels[:32])
    centres = [embedded[tiles.tumour[:32] == value].mean(axis=0) for value in (0, 1)]
    towards = (embedded - (centres[0] + centres[1]) / 2) @ (centres[1] - centres[0])
    assert ((towards > 0) == (tiles.tumour[:32] == 1)).mean() > 0.9


def test_same_configuration_gives_the_same_weights_whatever_the_global_generator(tiles, trained):
    with torch.random.fork_rng():
        torch.manual_seed(99)
        before = torch.get_rng_state()
        with deterministic(1):
            again, _ = train_encoder(tiles, SMALL_SPEC, CONFIG, lambda *_: None)
        assert torch.equal(torch.get_rng_state(), before)
    assert state_digest(again) == state_digest(trained[0])


def test_progress_counts_every_step(trained):
    assert trained[2] == [("encoder", step, 12) for step in range(1, 13)]


def test_classes_weigh_the_same_in_sum_and_unknown_ones_nothing():
    weights = class_weights(np.array([1, 0, 0, 0, -1], dtype=np.int8))
    np.testing.assert_allclose(weights, [2, 2 / 3, 2 / 3, 2 / 3, 0], rtol=1e-6)
    np.testing.assert_array_equal(class_weights(np.array([1, 1], dtype=np.int8)), [1, 1])
    np.testing.assert_array_equal(class_weights(np.array([-1], dtype=np.int8)), [0])
