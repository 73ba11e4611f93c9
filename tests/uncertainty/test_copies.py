"""From a slide's pixels to its logits: nothing but the pixels counts."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from heads import make_head
from pellucid.aggregators import GatedAttentionConfig
from pellucid.cohort.synthetic.large import write_large_slide
from pellucid.encoders import SmallEncoder, half_features, load_encoder, small_spec, state_digest
from pellucid.slides import find_tissue, identify, lay_grid, open_slide, read_tiles
from pellucid.uncertainty import run_passes


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_large_slide(tmp_path_factory.mktemp("slides") / "scan.svs", 2048, 2048, 1)


@pytest.fixture(scope="module")
def encoder():
    state = SmallEncoder(seed=3).state_dict()
    return load_encoder(replace(small_spec(state_digest(state)), batch_size=4), state)


def embed(path, encoder, *, batch=None):
    """The bag of a slide `(n_tiles, dim) float16`, encoded in batches of `batch` tiles."""
    spec = encoder.spec
    with open_slide(path) as opened:
        grid = lay_grid(opened.info, find_tissue(opened), tile_px=spec.tile_px, mpp=spec.mpp)
        features = np.empty((len(grid), spec.dim), np.float16)
        for tiles in read_tiles(opened, grid, batch_size=batch or spec.batch_size, decoding=spec.decoding):
            assert tiles.readable.all()
            features[tiles.index] = half_features(encoder.encode(tiles.pixels))
    return features


def logits(features):
    head = make_head(GatedAttentionConfig(input_dim=features.shape[1], trunk_dim=32, gate_dim=16))
    return run_passes(head, features, model="m").logits


def append(path):
    with path.open("ab") as file:
        file.write(b"left behind by a copying program")


def rename_scanner(path):
    data = path.read_bytes()
    assert b"SYN-A" in data
    path.write_bytes(data.replace(b"SYN-A", b"SYN-Z"))


@pytest.mark.parametrize("change", [append, rename_scanner])
def test_a_copy_of_other_bytes_and_the_same_pixels_has_the_same_logits(slide, encoder, tmp_path, change):
    copy = shutil.copy(slide, tmp_path / "copy.svs")
    change(copy)
    assert identify(copy).digest != identify(slide).digest
    assert logits(embed(copy, encoder)).tobytes() == logits(embed(slide, encoder)).tobytes()


def test_the_batches_in_which_tiles_were_encoded_leave_no_trace(slide, encoder):
    whole = logits(embed(slide, encoder))
    assert len(set(whole)) == 50
    for batch in (1, 3):
        assert logits(embed(slide, encoder, batch=batch)).tobytes() == whole.tobytes()
