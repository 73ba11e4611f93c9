"""The slide encoder has the published names and shapes, and computes what its description says, in any tile order."""

import subprocess
import sys

import pytest
import torch

from longnet_naive import naive_slide_embedding
from pellucid.aggregators import GIGAPATH_SLIDE, LongNetConfig, LongNetSlideEncoder
from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch, LongNetConfigInvalid
from pellucid.aggregators.longnet_config import segment_lengths

SMALL = LongNetConfig(
    input_dim=10, dim=32, depth=2, heads=8, ffn_dim=48, segments=(8, 12, 32), ratios=(1, 2, 4), grids=50
)


def published_shapes():
    """Names and shapes of the 247 tensors of slide_encoder.pth."""
    shapes = {
        "cls_token": (1, 1, 768),
        "patch_embed.proj.weight": (768, 1536),
        "patch_embed.proj.bias": (768,),
        "encoder.layer_norm.weight": (768,),
        "encoder.layer_norm.bias": (768,),
        "norm.weight": (768,),
        "norm.bias": (768,),
    }
    widths = {
        **{f"self_attn.{name}_proj": (768, 768) for name in ("k", "v", "q", "out")},
        "self_attn.inner_attn_ln": (768,),
        "self_attn_layer_norm": (768,),
        "ffn.fc1": (3072, 768),
        "ffn.fc2": (768, 3072),
        "ffn.ffn_layernorm": (3072,),
        "final_layer_norm": (768,),
    }
    for layer in range(12):
        for name, shape in widths.items():
            shapes[f"encoder.layers.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layers.{layer}.{name}.bias"] = shape[:1]
    return shapes


def slide(n, *, dtype=torch.float64, seed=0, side=9):
    """Features and corners (n, 2) of tiles on a grid of `side` columns, every third one left out."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.arange(n) * 3 // 2
    corners = torch.stack([places % side, places // side], dim=1).double() * 256 + 3.5
    return torch.randn(n, SMALL.input_dim, generator=generator, dtype=dtype), corners


@pytest.fixture(scope="module")
def small():
    encoder = LongNetSlideEncoder(SMALL, seed=3).double().eval().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        # biases and norms off their defaults, so that leaving one out shows
        parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.1)
    return encoder


def test_full_size_has_the_published_names_shapes_and_number_of_parameters():
    state = LongNetSlideEncoder(device="meta").state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published_shapes()
    assert len(state) == 247
    assert sum(tensor.numel() for tensor in state.values()) == 86_330_880


def test_segment_lengths_follow_from_the_largest_slide():
    assert segment_lengths(262_144, 256) == (1024, 5792, 32_768, 185_363, 1_048_576)
    assert GIGAPATH_SLIDE.segments == segment_lengths()


@pytest.mark.parametrize("n", [1, 2, 6, 7, 8, 11, 12, 31, 32, 60])
def test_agrees_with_the_naive_reading_of_its_weights(small, n):
    features, corners = slide(n, seed=n)
    wanted = naive_slide_embedding(small, features, corners)
    found = small(features, corners)
    assert found.shape == (32,)
    assert ((found - wanted).norm() / wanted.norm()).item() < 1e-10


def test_agrees_in_single_precision(small):
    features, corners = slide(40)
    single = LongNetSlideEncoder(SMALL).eval().requires_grad_(requires_grad=False)
    single.load_state_dict(small.state_dict())
    wanted = naive_slide_embedding(small, features, corners)
    assert ((single(features.float(), corners) - wanted).norm() / wanted.norm()).item() < 1e-5


def test_order_of_tiles_makes_no_difference(small):
    features, corners = slide(30)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    assert torch.equal(small(features[shuffled], corners[shuffled]), small(features, corners))


def test_places_of_tiles_make_a_difference(small):
    features, corners = slide(30)
    assert not torch.allclose(small(features, corners), small(features, corners + 512.0))


def test_corners_within_one_grid_cell_are_one_position(small):
    features, corners = slide(30)
    assert torch.equal(small(features, corners), small(features, corners + 200.0))


def test_class_token_is_not_pooled_but_attended_to(small):
    features, corners = slide(20)
    before = small.layer_embeddings(features, corners)
    changed = LongNetSlideEncoder(SMALL).double()
    changed.load_state_dict(small.state_dict())
    with torch.no_grad():
        changed.cls_token[..., ::2] += 5.0
        after = changed.layer_embeddings(features, corners)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[-1], after[-1])


def test_layer_embeddings_start_with_the_tokens_and_give_one_row_a_layer(small):
    features, corners = slide(20)
    rows = small.layer_embeddings(features, corners)
    assert rows.shape == (SMALL.depth + 1, SMALL.dim)
    assert not torch.allclose(rows[-1], small(features, corners))


def test_gradients_reach_every_weight():
    encoder = LongNetSlideEncoder(SMALL, seed=1)
    features, corners = slide(20, dtype=torch.float32)
    encoder(features, corners).square().sum().backward()
    missing = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert missing == []


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, second, other = (LongNetSlideEncoder(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["cls_token"], other["cls_token"])


def test_bags_that_fit_no_encoder_are_refused(small):
    features, corners = slide(5)
    with pytest.raises(BagShapeMismatch):
        small(features[:, :9], corners)
    with pytest.raises(BagEmpty):
        small(features[:0], corners[:0])


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 0},
        {"heads": 5},
        {"dim": 6, "heads": 2},
        {"segments": (8,)},
        {"segments": (), "ratios": ()},
        {"ratios": (0,) * 5},
    ],
)
def test_impossible_configurations_are_refused(change):
    with pytest.raises(LongNetConfigInvalid):
        LongNetConfig(**change)


def test_slide_too_small_for_a_segment_is_refused():
    with pytest.raises(LongNetConfigInvalid):
        segment_lengths(2560, 256)


def test_configuration_is_readable_without_torch():
    script = "from pellucid.aggregators import GIGAPATH_SLIDE; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
