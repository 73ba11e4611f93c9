import pytest
import torch
from torch import nn

from pellucid.encoders import SmallEncoder
from pellucid.training.joint import BlocksUnknown, trainable_parameters
from pellucid.training.joint.blocks import blocks_of, computed_anew
from training.joint.joint_parts import timm_vit


def roots(names, depth=1):
    return sorted({".".join(name.split(".")[:depth]) for name in names})


def test_last_block_of_a_vision_transformer_and_its_norm_train():
    network = timm_vit()
    assert roots(trainable_parameters(network, 1), 2) == roots(
        [name for name, _ in network.named_parameters() if name.startswith(("blocks.1", "norm."))], 2
    )
    assert roots(trainable_parameters(network, 2)) == ["blocks", "norm"]
    assert list(trainable_parameters(network, None)) == [name for name, _ in network.named_parameters()]


def test_last_stage_of_an_efficientnet_trains_with_what_follows():
    import timm

    with torch.device("meta"):
        network = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    assert roots(trainable_parameters(network, 1), 2) == [
        "blocks.6",
        "bn2.bias",
        "bn2.weight",
        "conv_head.weight",
    ]


def test_small_encoder_and_a_wrapped_network_have_blocks():
    assert roots(trainable_parameters(SmallEncoder(), 1)) == ["residual"]
    wrapped = nn.Module()
    wrapped.inner = timm_vit()
    assert roots(trainable_parameters(wrapped, 1), 3) == roots(
        [f"inner.{name}" for name in trainable_parameters(wrapped.inner, 1)], 3
    )
    assert list(blocks_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))).blocks) == ["0", "2"]


def test_network_without_known_blocks_is_refused_only_where_blocks_are_needed():
    network = nn.Module()
    network.left, network.right = nn.Linear(2, 2), nn.Linear(2, 2)
    assert len(trainable_parameters(network, None)) == 4
    with pytest.raises(BlocksUnknown, match="left, right"):
        trainable_parameters(network, 1)


def test_more_blocks_than_there_are_train_all_blocks():
    assert roots(trainable_parameters(timm_vit(), 99), 2) == roots(trainable_parameters(timm_vit(), 2), 2)


def test_block_is_computed_anew_for_its_backward_pass_with_the_same_gradient():
    block = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    calls = []
    block[0].register_forward_hook(lambda *_: calls.append(1))
    found = []
    for chosen, n_calls in (([], 1), ([block], 2)):
        calls.clear()
        block.zero_grad()
        with torch.random.fork_rng(), computed_anew(chosen):
            torch.manual_seed(0)
            block(torch.ones(8, 2)).square().sum().backward()
        assert len(calls) == n_calls
        found.append([weight.grad.clone() for weight in block.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_modules_are_as_before_after_being_computed_anew_even_after_an_error():
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"), computed_anew([layer]):
        layer(torch.ones(1, 3))
    assert "forward" not in vars(layer)
    assert layer(torch.ones(1, 2)).shape == (1, 2)
