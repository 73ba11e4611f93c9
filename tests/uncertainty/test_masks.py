import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.aggregators import GatedAttentionConfig
from pellucid.core.digests import digest_bytes
from pellucid.uncertainty import keep_mask, pass_masks

CONFIG = GatedAttentionConfig(input_dim=8, trunk_dim=64, gate_dim=48)


def test_masks_are_pinned():
    # a change here changes every posterior ever recorded: then MASK_SCHEME must change too
    masks = b"".join(keep_mask("model", "trunk1", index, 512, 0.25).tobytes() for index in range(50))
    assert digest_bytes(masks) == "27f655daadc1935f25304366bf394a924488f12122a4b564253c247e709c1fe9"


@given(st.text(max_size=20), st.integers(0, 10_000))
def test_a_mask_depends_on_its_key_alone(model, index):
    first = keep_mask(model, "trunk2", index, 64, 0.25)
    keep_mask("another", "head", 3, 64, 0.5)
    assert np.array_equal(first, keep_mask(model, "trunk2", index, 64, 0.25))


def test_model_layer_and_pass_each_change_the_mask():
    reference = keep_mask("m", "trunk1", 0, 256, 0.5)
    for other in (("n", "trunk1", 0), ("m", "trunk2", 0), ("m", "trunk1", 1)):
        agreement = np.mean(reference == keep_mask(*other, 256, 0.5))
        assert 0.3 < agreement < 0.7


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.5, 0.9])
def test_channels_are_kept_at_the_stated_rate(rate):
    kept = np.mean([keep_mask("m", "trunk1", index, 512, rate) for index in range(200)])
    assert kept == pytest.approx(1 - rate, abs=4 * np.sqrt(rate * (1 - rate) / 102_400) + 1e-12)


def test_neighbouring_passes_and_channels_are_uncorrelated():
    kept = np.array([keep_mask("m", "trunk1", index, 512, 0.25) for index in range(100)], dtype=float)
    assert abs(np.corrcoef(kept[:-1].ravel(), kept[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(kept[:, :-1].ravel(), kept[:, 1:].ravel())[0, 1]) < 0.02


def test_a_pass_masks_every_site_at_its_width():
    masks = pass_masks("m", CONFIG, 7)
    assert {site: mask.size for site, mask in masks.items()} == {
        "trunk1": 64,
        "trunk2": 64,
        "gate_tanh": 48,
        "gate_sigmoid": 48,
        "head": 64,
    }


def test_numpys_global_generator_is_not_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pass_masks("m", CONFIG, 0)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_masks_and_digest_need_no_torch():
    code = (
        "import sys; from pellucid.uncertainty import MASK_SCHEME, model_digest, pass_masks;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
