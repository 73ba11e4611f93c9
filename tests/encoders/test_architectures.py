"""Networks have the names and shapes of the published files, and building one draws no number."""

import pytest
import torch
from torch import nn

from pellucid.encoders import SpecUnusable, build_network


def shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in build_network(architecture).state_dict().items()}


def test_gigapath_has_566_keys_and_1_134_953_984_parameters() -> None:
    network = build_network("gigapath-vit-g16")
    assert len(network.state_dict()) == 566
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_134_953_984
    assert not list(network.buffers())


def test_gigapath_s_layout_is_that_of_its_file() -> None:
    found = shapes("gigapath-vit-g16")
    block = {name.removeprefix("blocks.39."): shape for name, shape in found.items() if name.startswith("blocks.39.")}
    assert block == {
        "norm1.weight": (1536,),
        "norm1.bias": (1536,),
        "attn.qkv.weight": (4608, 1536),
        "attn.qkv.bias": (4608,),
        "attn.proj.weight": (1536, 1536),
        "attn.proj.bias": (1536,),
        "ls1.gamma": (1536,),
        "norm2.weight": (1536,),
        "norm2.bias": (1536,),
        "mlp.fc1.weight": (8192, 1536),
        "mlp.fc1.bias": (8192,),
        "mlp.fc2.weight": (1536, 4096),
        "mlp.fc2.bias": (1536,),
        "ls2.gamma": (1536,),
    }
    outside = {name: shape for name, shape in found.items() if not name.startswith("blocks.")}
    assert outside == {
        "cls_token": (1, 1, 1536),
        "pos_embed": (1, 197, 1536),
        "patch_embed.proj.weight": (1536, 3, 16, 16),
        "patch_embed.proj.bias": (1536,),
        "norm.weight": (1536,),
        "norm.bias": (1536,),
    }


@pytest.mark.parametrize(
    ("architecture", "keys", "parameters"),
    [
        ("vit-l16", 342, 303_350_784),
        ("vit-h14-reg8", 343, 681_394_176),
        ("vit-h14-reg4-mean", 455, 631_239_424),
        ("vit-g14-reg4", 567, 1_134_774_272),
        ("efficientnet-lite0", 294, 3_371_008),
    ],
)
def test_the_others_have_the_sizes_that_their_publishers_state(architecture: str, keys: int, parameters: int) -> None:
    network = build_network(architecture)
    assert len(network.state_dict()) == keys
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_the_gate_of_the_feed_forward_part_is_its_first_half() -> None:
    feed_forward = build_network("gigapath-vit-g16@1").get_submodule("blocks.0.mlp").to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in feed_forward.parameters():
        parameter.data.normal_(0.0, 0.02, generator=generator)
    tokens = torch.randn(2, 3, 1536, generator=generator)
    both = nn.functional.linear(tokens, feed_forward.fc1.weight, feed_forward.fc1.bias)
    gate, value = both[..., :4096], both[..., 4096:]
    expected = nn.functional.linear(gate * torch.sigmoid(gate) * value, feed_forward.fc2.weight, feed_forward.fc2.bias)
    with torch.inference_mode():
        torch.testing.assert_close(feed_forward(tokens), expected)


def test_a_network_cut_short_is_the_same_network_with_fewer_blocks() -> None:
    whole, short = shapes("gigapath-vit-g16"), shapes("gigapath-vit-g16@2")
    assert short == {name: shape for name, shape in whole.items() if not _block_of(name) >= 2}


def test_building_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    network = build_network("gigapath-vit-g16@1")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.is_meta for parameter in network.parameters())


def test_virchow2_is_its_class_token_beside_the_mean_of_its_patches() -> None:
    network = build_network("vit-h14-reg4-mean@1").to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data.normal_(0.0, 0.02, generator=generator)
    pictures = torch.randn(2, 3, 224, 224, generator=generator)
    with torch.inference_mode():
        tokens = network.forward_features(pictures)
        given = network(pictures)
    assert tokens.shape == (2, 1 + 4 + 256, 1280)
    torch.testing.assert_close(given[:, :1280], tokens[:, 0])
    torch.testing.assert_close(given[:, 1280:], tokens[:, 5:].mean(dim=1))


@pytest.mark.parametrize("name", ["no-such-net", "gigapath-vit-g16@0", "gigapath-vit-g16@x", "small-conv@2", ""])
def test_an_unknown_name_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(SpecUnusable, match="known: small-conv, gigapath-vit-g16"):
        build_network(name)


def _block_of(name: str) -> int:
    return int(name.split(".")[1]) if name.startswith("blocks.") else -1
