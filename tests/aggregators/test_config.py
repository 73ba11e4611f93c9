import pytest

from pellucid.aggregators import GatedAttentionConfig
from pellucid.aggregators.errors import HeadConfigInvalid
from pellucid.core.serial import from_plain, to_plain


def test_defaults_are_those_of_eagle():
    config = GatedAttentionConfig(input_dim=1536)
    assert (config.trunk_dim, config.gate_dim) == (512, 384)
    assert config.trunk_dropout == config.gate_dropout == 0.25


def test_sites_follow_the_data():
    sites = GatedAttentionConfig(input_dim=8, trunk_dim=6, gate_dim=4, head_dropout=0.5).sites
    assert list(sites) == ["trunk1", "trunk2", "gate_tanh", "gate_sigmoid", "head"]
    assert sites["gate_tanh"] == (4, 0.25)
    assert sites["head"] == (6, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_dim": 0},
        {"gate_dim": -1},
        {"trunk_dropout": 1.0},
        {"head_dropout": -0.1},
        {"gate_dropout": float("nan")},
    ],
)
def test_impossible_values_are_refused_by_name(wrong):
    with pytest.raises(HeadConfigInvalid, match=next(iter(wrong))):
        GatedAttentionConfig(**{"input_dim": 8, **wrong})


def test_round_trips_through_plain_json():
    config = GatedAttentionConfig(input_dim=64, trunk_dim=32, gate_dim=16, head_dropout=0.1)
    assert from_plain(GatedAttentionConfig, to_plain(config)) == config
