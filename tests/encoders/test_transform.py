"""Each encoder's transform is the official one, with torchvision as the oracle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from pellucid.core.seeds import generator
from pellucid.domain.encoder import EncoderSpec
from pellucid.encoders import encoder_entry
from pellucid.encoders.transform import normalise, read_picture

BICUBIC = transforms.InterpolationMode.BICUBIC


def picture(edge: int, seed: int = 0) -> np.ndarray:
    """Something with structure at several scales, so that interpolation matters."""
    coarse = generator("picture", seed).integers(0, 256, (edge // 8, edge // 8, 3), dtype=np.uint8)
    fine = generator("grain", seed).integers(0, 60, (edge, edge, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 8, 0), 8, 1) // 2 + fine


def official(spec: EncoderSpec, image: Image.Image, *, resize: int | None, crop: int | None) -> torch.Tensor:
    steps: list[object] = [] if resize is None else [transforms.Resize(resize, interpolation=BICUBIC)]
    steps += [] if crop is None else [transforms.CenterCrop(crop)]
    steps += [transforms.ToTensor(), transforms.Normalize(spec.mean, spec.std)]
    return transforms.Compose(steps)(image)[None]


@pytest.mark.parametrize(("name", "resize", "crop"), [("gigapath", 256, 224), ("gigapath-224", None, None)])
def test_a_tile_as_read_is_seen_as_the_official_transform_shows_it(
    name: str, resize: int | None, crop: int | None
) -> None:
    spec = encoder_entry(name).spec
    tile = picture(spec.tile_px)
    expected = official(spec, Image.fromarray(tile), resize=resize, crop=crop)
    assert expected.shape == (1, 3, 224, 224)
    torch.testing.assert_close(normalise(tile[None], spec), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["uni", "uni2-h", "virchow2", "h-optimus-0", "h-optimus-1", "phikon-v2"])
def test_a_tile_of_224_px_is_neither_resized_nor_cropped(name: str) -> None:
    spec = encoder_entry(name).spec
    tile = picture(224)
    expected = official(spec, Image.fromarray(tile), resize=224, crop=224)
    torch.testing.assert_close(normalise(tile[None], spec), expected, rtol=0, atol=1e-5)


def test_the_two_gigapath_transforms_show_different_things() -> None:
    """The same field of view: one sees its middle at the scale of the slide, the other would see all of it."""
    whole, cut = encoder_entry("gigapath").spec, encoder_entry("gigapath-224").spec
    tile = picture(256)
    middle = tile[16:240, 16:240]
    assert torch.equal(normalise(tile[None], whole), normalise(middle[None], cut))
    packaged = official(whole, Image.fromarray(tile), resize=224, crop=224)  # timm's packaged crop_pct of 1.0
    assert (normalise(tile[None], whole) - packaged).abs().max() > 0.5


@pytest.mark.parametrize("edge", [128, 256, 320])
def test_a_golden_picture_is_resized_as_torchvision_does(tmp_path: Path, edge: int) -> None:
    spec = encoder_entry("gigapath").spec
    path = tmp_path / "tile.png"
    Image.fromarray(picture(edge)).save(path)
    expected = official(spec, Image.open(path).convert("RGB"), resize=256, crop=224)
    tile = read_picture(path, resize_px=256, tile_px=256)
    torch.testing.assert_close(normalise(tile[None], spec), expected, rtol=0, atol=1e-5)
    cut = read_picture(path, resize_px=256, tile_px=224)
    torch.testing.assert_close(normalise(cut[None], encoder_entry("gigapath-224").spec), expected, rtol=0, atol=1e-5)


def test_a_picture_that_is_not_square_is_refused(tmp_path: Path) -> None:
    Image.fromarray(picture(128)[:64]).save(tmp_path / "tile.png")
    with pytest.raises(ValueError, match="128 x 64, not square"):
        read_picture(tmp_path / "tile.png", resize_px=256, tile_px=224)
