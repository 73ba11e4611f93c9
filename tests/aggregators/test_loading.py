import subprocess
import sys

import pytest
import torch

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.aggregators.errors import HeadWeightsMismatch, HeadWeightsNonFinite

CONFIG = GatedAttentionConfig(input_dim=6, trunk_dim=5, gate_dim=4)


@pytest.fixture
def state():
    return GatedAttention(CONFIG, seed=9).state_dict()


def test_a_loaded_head_is_the_saved_one_ready_for_inference(state):
    head = load_head(CONFIG, state)
    assert not head.training
    assert not any(parameter.requires_grad for parameter in head.parameters())
    assert all(torch.equal(head.state_dict()[name], weight) for name, weight in state.items())


def test_a_loaded_head_shares_no_memory_with_its_source(state):
    head = load_head(CONFIG, state)
    state["trunk1.weight"].zero_()
    assert head.trunk1.weight.any()


def test_the_first_missing_weight_is_named(state):
    del state["gate_tanh.bias"], state["trunk2.weight"]
    with pytest.raises(HeadWeightsMismatch, match=r"lack gate_tanh\.bias"):
        load_head(CONFIG, state)


def test_an_unknown_weight_is_named(state):
    state["classifier.scale"] = torch.ones(1)
    with pytest.raises(HeadWeightsMismatch, match=r"hold classifier\.scale"):
        load_head(CONFIG, state)


def test_another_shape_is_named_with_both(state):
    with pytest.raises(HeadWeightsMismatch, match=r"trunk1\.weight is \(5, 6\).*has \(5, 7\)"):
        load_head(GatedAttentionConfig(input_dim=7, trunk_dim=5, gate_dim=4), state)


def test_another_precision_is_refused(state):
    state["attention.weight"] = state["attention.weight"].half()
    with pytest.raises(HeadWeightsMismatch, match=r"attention\.weight .*float16"):
        load_head(CONFIG, state)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(state, value):
    state["classifier.bias"][1] = value
    with pytest.raises(HeadWeightsNonFinite, match=r"classifier\.bias"):
        load_head(CONFIG, state)


def test_the_room_and_its_configuration_load_without_torch():
    code = (
        "import sys, pellucid.aggregators as room; room.GatedAttentionConfig(input_dim=1);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_exists():
    import pellucid.aggregators as room

    assert all(getattr(room, name) is not None for name in room.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = room.no_such_name
