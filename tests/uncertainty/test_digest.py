from dataclasses import replace

import pytest

from pellucid.aggregators import GatedAttentionConfig
from pellucid.domain.encoder import EncoderSpec
from pellucid.uncertainty import digest, model_digest

SPEC = EncoderSpec(
    id="test-encoder",
    architecture="test",
    weights_digest="0" * 64,
    tile_px=224,
    mpp=0.5,
    input_px=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    dim=64,
    batch_size=32,
    licence="Apache-2.0",
    scope="tests",
)
CONFIG = GatedAttentionConfig(input_dim=64)


def test_the_same_parts_give_the_same_digest():
    assert model_digest(SPEC, CONFIG, "a" * 64) == model_digest(replace(SPEC), replace(CONFIG), "a" * 64)
    assert len(model_digest(SPEC, CONFIG, "a" * 64)) == 64


@pytest.mark.parametrize(
    ("spec", "config", "weights"),
    [
        (replace(SPEC, weights_digest="1" * 64), CONFIG, "a" * 64),
        (replace(SPEC, mpp=0.25), CONFIG, "a" * 64),
        (SPEC, replace(CONFIG, gate_dropout=0.3), "a" * 64),
        (SPEC, replace(CONFIG, head_dropout=0.0), "a" * 64),
        (SPEC, CONFIG, "b" * 64),
    ],
)
def test_any_change_is_another_model(spec, config, weights):
    assert model_digest(spec, config, weights) != model_digest(SPEC, CONFIG, "a" * 64)


def test_another_mask_scheme_is_another_model(monkeypatch):
    before = model_digest(SPEC, CONFIG, "a" * 64)
    monkeypatch.setattr(digest, "MASK_SCHEME", "philox-channel/2")
    assert model_digest(SPEC, CONFIG, "a" * 64) != before
