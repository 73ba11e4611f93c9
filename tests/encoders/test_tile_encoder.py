"""One batch shape, the same bits for a tile whatever else is in its batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.core.seeds import generator
from pellucid.encoders import (
    SMALL_SPEC,
    NonFiniteFeatures,
    SmallEncoder,
    SpecUnusable,
    TileEncoder,
    TilesUnfit,
    WeightsAltered,
    WeightsUnfit,
    load_encoder,
    small_spec,
    state_digest,
)


def tiles(count, seed=0):
    return generator("tiles", seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture(scope="module")
def state():
    network = SmallEncoder()
    source = torch.Generator().manual_seed(7)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith(("running_var", "1.weight"))
            with torch.no_grad():
                tensor.copy_(torch.rand(tensor.shape, generator=source) * 0.5 + (0.5 if positive else -0.25))
    return state_of(network)


@pytest.fixture(scope="module")
def encoder(state):
    return load_encoder(small_spec(state_digest(state)), state)


def test_embedding_has_the_shape_and_type_of_the_spec(encoder):
    embedded = encoder.encode(tiles(5))
    assert embedded.shape == (5, SMALL_SPEC.dim)
    assert embedded.dtype == np.float32


def test_embedding_is_the_networks_own_on_normalised_pixels(encoder, state):
    network = SmallEncoder().eval()
    network.load_state_dict(state)
    pixels = tiles(3)
    normalised = (pixels / 255.0 - np.array(SMALL_SPEC.mean)) / np.array(SMALL_SPEC.std)
    with torch.inference_mode():
        expected = network(torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 32), slot=st.integers(0, 31), seed=st.integers(0, 99))
def test_bits_of_a_tile_depend_on_neither_count_nor_slot_nor_neighbours(encoder, count, slot, seed):
    slot %= count
    tile = tiles(1)
    alone = encoder.encode(tile)[0]
    crowd = tiles(count, seed)
    crowd[slot] = tile[0]
    np.testing.assert_array_equal(encoder.encode(crowd)[slot], alone)


def test_what_an_earlier_batch_left_behind_is_irrelevant(encoder):
    tile = tiles(1)
    encoder.encode(np.zeros((32, 224, 224, 3), dtype=np.uint8))
    after_black = encoder.encode(tile)
    encoder.encode(np.full((32, 224, 224, 3), 255, dtype=np.uint8))
    np.testing.assert_array_equal(encoder.encode(tile), after_black)


def test_what_the_padding_holds_is_irrelevant(encoder):
    few = tiles(5)
    padded_white = np.full((32, 224, 224, 3), 255, dtype=np.uint8)
    padded_white[:5] = few
    np.testing.assert_array_equal(encoder.encode(padded_white)[:5], encoder.encode(few))


def test_two_loads_of_the_same_weights_give_the_same_bits(encoder, state):
    again = load_encoder(small_spec(state_digest(state)), state)
    pixels = tiles(4)
    np.testing.assert_array_equal(encoder.encode(pixels), again.encode(pixels))


def test_result_is_not_overwritten_by_the_next_batch(encoder):
    first = encoder.encode(tiles(2, seed=1))
    kept = first.copy()
    encoder.encode(tiles(2, seed=2))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 224, 224, 3), dtype=np.uint8),
        np.zeros((33, 224, 224, 3), dtype=np.uint8),
        np.zeros((1, 256, 256, 3), dtype=np.uint8),
        np.zeros((1, 224, 224, 3), dtype=np.float32),
        np.zeros((224, 224, 3), dtype=np.uint8),
    ],
)
def test_tiles_that_do_not_fit_the_spec_are_refused(encoder, pixels):
    with pytest.raises(TilesUnfit, match="pellucid-small"):
        encoder.encode(pixels)


def test_a_network_that_gives_nan_for_one_tile_is_caught():
    class Poisoned(SmallEncoder):
        def forward(self, batch):
            features = super().forward(batch)
            features[1, 3] = float("nan")
            return features

    with pytest.raises(NonFiniteFeatures, match="1 of 3 tiles"):
        TileEncoder(SMALL_SPEC, Poisoned()).encode(tiles(3))


def test_missing_key_is_named(state):
    partial = {name: tensor for name, tensor in state.items() if name not in ("last.0.weight", "stem.0.weight")}
    with pytest.raises(WeightsUnfit, match=r"'last\.0\.weight': it is missing"):
        load_encoder(small_spec(state_digest(partial)), partial)


def test_extra_key_is_named(state):
    extra = state | {"head.weight": torch.zeros(1)}
    with pytest.raises(WeightsUnfit, match=r"'head\.weight': the network has no such tensor"):
        load_encoder(small_spec(state_digest(extra)), extra)


def test_misshapen_tensor_is_named_with_both_shapes(state):
    bent = state | {"stem.0.weight": torch.zeros(24, 3, 5, 5)}
    with pytest.raises(WeightsUnfit, match=r"'stem\.0\.weight': its shape is \(24, 3, 5, 5\), not \(24, 3, 6, 6\)"):
        load_encoder(small_spec(state_digest(bent)), bent)


def test_tensor_of_another_type_is_named(state):
    half = state | {"stem.0.weight": state["stem.0.weight"].half()}
    with pytest.raises(WeightsUnfit, match=r"'stem\.0\.weight': its type is torch\.float16"):
        load_encoder(small_spec(state_digest(half)), half)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_is_named(state, value):
    sick = state | {"middle.1.bias": torch.full_like(state["middle.1.bias"], value)}
    with pytest.raises(WeightsUnfit, match=r"'middle\.1\.bias': it holds NaN or infinite"):
        load_encoder(small_spec(state_digest(sick)), sick)


def test_weights_of_another_digest_are_refused(state):
    other = state | {"stem.1.bias": state["stem.1.bias"] + 1e-3}
    with pytest.raises(WeightsAltered, match=state_digest(state)):
        load_encoder(small_spec(state_digest(state)), other)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"architecture": "no-such-net"}, "no-such-net"),
        ({"precision": "float16"}, "float16"),
        ({"input_px": 256}, "input_px 256"),
        ({"dim": 100}, "dim 100"),
        ({"batch_size": 0}, "batch_size 0"),
    ],
)
def test_spec_that_cannot_be_run_is_refused(state, change, named):
    spec = replace(small_spec(state_digest(state)), **change)
    with pytest.raises(SpecUnusable, match=named):
        load_encoder(spec, state)


def test_smaller_input_is_cut_out_of_the_centre(state):
    spec = replace(small_spec(state_digest(state)), tile_px=256)
    pixels = generator("large").integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    whole = load_encoder(small_spec(state_digest(state)), state)
    cropped = load_encoder(spec, state)
    np.testing.assert_array_equal(cropped.encode(pixels), whole.encode(pixels[:, 16:240, 16:240]))


def test_small_spec_states_licence_and_scope():
    assert SMALL_SPEC.licence == "Apache-2.0, trained on synthetic data by this repository"
    assert SMALL_SPEC.scope == "demonstration only, synthetic"
    assert SmallEncoder.dim == SMALL_SPEC.dim


def test_a_smaller_batch_pads_to_less_and_takes_no_more(state):
    encoder = load_encoder(small_spec(state_digest(state)), state)
    whole = encoder.encode(tiles(3))
    shapes = []
    encoder._network.register_forward_pre_hook(lambda _module, inputs: shapes.append(len(inputs[0])))
    encoder.shrink(4)
    np.testing.assert_allclose(encoder.encode(tiles(3)), whole, rtol=1e-4, atol=1e-5)
    assert shapes == [4]
    with pytest.raises(TilesUnfit):
        encoder.encode(tiles(5))
