"""A golden tile tells an encoder that agrees with its publisher from one that doesn't."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.core.seeds import generator
from pellucid.encoders import (
    GoldenTileMismatch,
    GoldenTileUnreadable,
    SmallEncoder,
    TileEncoder,
    check_golden_tile,
    load_encoder,
    read_golden_tiles,
    small_spec,
    state_digest,
)

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "gigapath_golden"


@pytest.fixture(scope="module")
def encoder() -> TileEncoder:
    state = SmallEncoder(seed=1).state_dict()
    return load_encoder(replace(small_spec(state_digest(state)), batch_size=1), state)


@pytest.fixture
def folder(tmp_path: Path, encoder: TileEncoder) -> Path:
    """A picture of 128 px with the embedding that the network itself gives it, made with torchvision's transform."""
    from torchvision import transforms

    pixels = generator("golden").integers(0, 256, (16, 16, 3), dtype=np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(pixels, 8, 0), 8, 1))
    image.save(tmp_path / "tile.png")
    spec = encoder.spec
    official = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
    )
    with torch.inference_mode():
        embedding = SmallEncoder(seed=1).eval()(official(image)[None])[0]
    torch.save(embedding, tmp_path / "tile.pt")
    return tmp_path


def test_an_encoder_agrees_with_an_embedding_that_was_made_apart(encoder: TileEncoder, folder: Path) -> None:
    (tile,) = read_golden_tiles(folder)
    assert check_golden_tile(encoder, tile.picture, tile.expected, resize_px=256) < 1e-4


def test_another_transform_is_a_mismatch(encoder: TileEncoder, folder: Path) -> None:
    (tile,) = read_golden_tiles(folder)
    with pytest.raises(GoldenTileMismatch, match=r"pellucid-small embeds the golden tile tile\.png up to"):
        check_golden_tile(encoder, tile.picture, tile.expected)


def test_other_weights_are_a_mismatch(folder: Path) -> None:
    state = SmallEncoder(seed=2).state_dict()
    other = load_encoder(replace(small_spec(state_digest(state)), batch_size=1), state)
    (tile,) = read_golden_tiles(folder)
    with pytest.raises(GoldenTileMismatch):
        check_golden_tile(other, tile.picture, tile.expected, resize_px=256)


@pytest.mark.parametrize(("away", "agrees"), [(0.009, True), (0.011, False)])
def test_the_limit_is_a_hundredth_for_any_feature(
    encoder: TileEncoder, folder: Path, away: float, agrees: bool
) -> None:
    (tile,) = read_golden_tiles(folder)
    exact = tile.expected.copy()
    exact[3] += away
    if agrees:
        assert check_golden_tile(encoder, tile.picture, exact, resize_px=256) == pytest.approx(away, abs=1e-3)
        return
    with pytest.raises(GoldenTileMismatch, match=r"at most 0\.01"):
        check_golden_tile(encoder, tile.picture, exact, resize_px=256)


def test_an_embedding_of_nan_or_of_another_length_is_a_mismatch(encoder: TileEncoder, folder: Path) -> None:
    (tile,) = read_golden_tiles(folder)
    for wrong in (np.full_like(tile.expected, np.nan), tile.expected[:-1]):
        with pytest.raises(GoldenTileMismatch):
            check_golden_tile(encoder, tile.picture, wrong, resize_px=256)


def test_a_folder_without_a_whole_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldenTileUnreadable, match="holds no golden tile"):
        read_golden_tiles(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(GoldenTileUnreadable, match=r"a\.pt"):
        read_golden_tiles(tmp_path)
    torch.save({"a": torch.zeros(3)}, tmp_path / "a.pt")
    with pytest.raises(GoldenTileUnreadable, match="no vector"):
        read_golden_tiles(tmp_path)


def test_a_picture_that_is_none_is_refused(encoder: TileEncoder, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(GoldenTileUnreadable, match=r"a\.png can't be used"):
        check_golden_tile(encoder, tmp_path / "a.png", np.zeros(192, np.float32), resize_px=256)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="../shared/data/gigapath_golden is not here")
def test_the_published_golden_tile_is_read() -> None:
    (tile,) = read_golden_tiles(PUBLISHED)
    assert tile.expected.shape == (1536,)
    assert np.isfinite(tile.expected).all()
    assert np.linalg.norm(tile.expected) == pytest.approx(32.9487, abs=1e-3)
