"""GigaPath's weights, one block deep: loaded strictly, or refused at the first key that differs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from pellucid.core.seeds import generator
from pellucid.encoders import (
    DeviceUnusable,
    EncoderEntry,
    SpecUnusable,
    TileEncoder,
    WeightsAltered,
    WeightsUnfit,
    build_network,
    encoder_entry,
    load_encoder,
    load_published,
    read_published,
    state_digest,
)

State = dict[str, Tensor]


def tiles(count: int, seed: int = 0) -> np.ndarray:
    return generator("tiles", seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoder(short_entry: EncoderEntry, torch_file: Path) -> TileEncoder:
    return load_published(short_entry, torch_file)


@pytest.fixture
def load_altered(short_entry: EncoderEntry, short_state: State, tmp_path: Path) -> Callable[..., TileEncoder]:
    """Write the weights with a change, and load them as a user would."""

    def load(*, without: tuple[str, ...] = (), **changed: Tensor) -> TileEncoder:
        renamed = {name.replace("__", "."): tensor for name, tensor in changed.items()}
        kept = {name: tensor for name, tensor in short_state.items() if name not in without}
        torch.save(kept | renamed, tmp_path / "pytorch_model.bin")
        return load_published(short_entry, tmp_path)

    return load


def test_both_formats_give_the_same_encoder(
    encoder: TileEncoder, short_entry: EncoderEntry, safetensors_file: Path, short_state: State
) -> None:
    other = load_published(short_entry, safetensors_file)
    assert other.spec == encoder.spec
    assert encoder.spec.weights_digest == state_digest(short_state)
    np.testing.assert_array_equal(other.encode(tiles(2)), encoder.encode(tiles(2)))


def test_the_embedding_is_that_of_timm_s_network_drawn_and_loaded_its_own_way(
    encoder: TileEncoder, short_state: State
) -> None:
    import timm

    network = timm.create_model(
        "vit_giant_patch14_dinov2", patch_size=16, img_size=224, depth=1, init_values=1e-5, mlp_ratio=5.33334
    ).eval()
    network.load_state_dict(short_state, strict=True)
    pixels = tiles(2)
    normalised = (pixels / 255.0 - np.array(encoder.spec.mean)) / np.array(encoder.spec.std)
    with torch.inference_mode():
        expected = network(torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    np.testing.assert_allclose(encoder.encode(pixels), expected, rtol=1e-3, atol=1e-4)


def test_weights_are_one_copy_and_no_number_is_drawn(short_entry: EncoderEntry, short_state: State) -> None:
    spec = replace(short_entry.spec, weights_digest=state_digest(short_state))
    before = torch.get_rng_state()
    loaded = load_encoder(spec, short_state)
    assert torch.equal(torch.get_rng_state(), before)
    tensor = loaded._network.get_parameter("blocks.0.mlp.fc1.weight")
    assert tensor.data_ptr() == short_state["blocks.0.mlp.fc1.weight"].data_ptr()


def test_bits_of_a_tile_depend_on_neither_count_nor_neighbour(encoder: TileEncoder) -> None:
    tile, other = tiles(1), tiles(1, seed=5)
    alone = encoder.encode(tile)[0]
    np.testing.assert_array_equal(encoder.encode(np.concatenate([tile, other]))[0], alone)
    np.testing.assert_array_equal(encoder.encode(np.concatenate([other, tile]))[1], alone)


def test_a_missing_key_is_named(load_altered: Callable[..., TileEncoder]) -> None:
    with pytest.raises(WeightsUnfit, match=r"'blocks\.0\.ls1\.gamma': it is missing") as raised:
        load_altered(without=("norm.bias", "blocks.0.ls1.gamma"))
    assert raised.value.context["key"] == "blocks.0.ls1.gamma"


def test_an_extra_key_is_named(load_altered: Callable[..., TileEncoder]) -> None:
    with pytest.raises(WeightsUnfit, match=r"'head\.weight': the network has no such tensor"):
        load_altered(head__weight=torch.zeros(3), register_token=torch.zeros(1))


def test_a_misshapen_tensor_is_named_with_both_shapes(load_altered: Callable[..., TileEncoder]) -> None:
    """timm's name says patches of 14; the published file has 16."""
    with pytest.raises(
        WeightsUnfit, match=r"'patch_embed\.proj\.weight': its shape is \(1536, 3, 14, 14\), not \(1536, 3, 16, 16\)"
    ):
        load_altered(patch_embed__proj__weight=torch.zeros(1536, 3, 14, 14))


def test_a_tensor_of_another_type_is_named(load_altered: Callable[..., TileEncoder], short_state: State) -> None:
    with pytest.raises(WeightsUnfit, match=r"'norm\.weight': its type is torch\.float16"):
        load_altered(norm__weight=short_state["norm.weight"].half())


def test_a_number_that_is_not_finite_is_named(load_altered: Callable[..., TileEncoder]) -> None:
    sick = torch.zeros(1, 1, 1536)
    sick[0, 0, 7] = float("nan")
    with pytest.raises(WeightsUnfit, match="'cls_token': it holds NaN or infinite"):
        load_altered(cls_token=sick)


def test_weights_of_something_else_are_refused_at_the_first_differing_key(
    short_entry: EncoderEntry, tmp_path: Path
) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsUnfit, match=r"gigapath-224 don't fit at 'blocks\.0\.attn\.proj\.bias': it is missing"):
        load_published(short_entry, tmp_path)


def test_weights_of_the_whole_depth_are_refused_by_a_shorter_network(
    short_entry: EncoderEntry, short_state: State, tmp_path: Path
) -> None:
    deeper = short_state | {"blocks.1.attn.proj.bias": torch.zeros(1536)}
    torch.save(deeper, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsUnfit, match=r"'blocks\.1\.attn\.proj\.bias': the network has no such tensor"):
        load_published(short_entry, tmp_path)


def test_other_weights_than_those_registered_are_refused(short_entry: EncoderEntry, torch_file: Path) -> None:
    registered = replace(short_entry, spec=replace(short_entry.spec, weights_digest="ab" * 32))
    with pytest.raises(WeightsAltered, match="abab"):
        load_published(registered, torch_file)


def test_an_encoder_that_is_not_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpecUnusable, match="This version can't build phikon-v2: its file has the layout"):
        read_published(encoder_entry("phikon-v2"), tmp_path)


def test_an_input_that_the_network_cannot_take_is_refused(short_entry: EncoderEntry, short_state: State) -> None:
    spec = replace(short_entry.spec, weights_digest=state_digest(short_state), input_px=192)
    with pytest.raises(SpecUnusable, match="input_px 192 is not the 224 that gigapath-vit-g16@1 takes"):
        load_encoder(spec, short_state)


def test_bfloat16_gives_float32_features_close_to_those_of_float32(
    encoder: TileEncoder, short_entry: EncoderEntry, torch_file: Path
) -> None:
    half = load_published(short_entry, torch_file, precision="bfloat16")
    assert half.spec.precision == "bfloat16"
    assert half.spec.digest != encoder.spec.digest
    kept = half._network.state_dict()
    assert kept["blocks.0.attn.qkv.weight"].dtype == torch.bfloat16
    assert kept["norm.weight"].dtype == kept["cls_token"].dtype == torch.float32
    exact, rounded = encoder.encode(tiles(2)), half.encode(tiles(2))
    assert rounded.dtype == np.float32
    assert 0.0 < np.abs(rounded - exact).max() < 0.05  # features have a spread of 1


def test_a_device_that_is_not_here_is_refused(short_entry: EncoderEntry, torch_file: Path) -> None:
    with pytest.raises(DeviceUnusable, match="cuda:99"):
        load_published(short_entry, torch_file, device="cuda:99")
    with pytest.raises(DeviceUnusable, match="not on 'meta'"):
        load_published(short_entry, torch_file, device="meta")
    with pytest.raises(DeviceUnusable, match="no device"):
        load_published(short_entry, torch_file, device="gpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
def test_an_accelerator_gives_the_features_of_the_cpu(
    encoder: TileEncoder, short_entry: EncoderEntry, torch_file: Path
) -> None:
    there = load_published(short_entry, torch_file, device="auto")
    assert there.device == "cuda:0"
    np.testing.assert_allclose(there.encode(tiles(2)), encoder.encode(tiles(2)), rtol=1e-3, atol=1e-3)


def test_an_encoder_says_where_it_runs_and_how_large_it_is(encoder: TileEncoder) -> None:
    assert encoder.device == "cpu"
    assert encoder.n_parameters == sum(p.numel() for p in build_network("gigapath-vit-g16@1").parameters())
