import pickle

import pytest
import torch

from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch

SMALL = GatedAttentionConfig(input_dim=12, trunk_dim=10, gate_dim=7)


def bag(n: int, dim: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def test_eagles_head_has_1444995_parameters():
    head = GatedAttention(GatedAttentionConfig(input_dim=1536, trunk_dim=512, gate_dim=384))
    assert sum(parameter.numel() for parameter in head.parameters()) == 1_444_995


def test_forward_is_the_published_formula():
    head = GatedAttention(SMALL, seed=1).double().eval()
    features = bag(5).double()
    weights = dict(head.named_parameters())

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    hidden = linear("trunk2", linear("trunk1", features).clamp(min=0)).clamp(min=0)
    gate = linear("gate_tanh", hidden).tanh() / (1 + (-linear("gate_sigmoid", hidden)).exp())
    attention = linear("attention", gate)[:, 0].exp()
    attention = attention / attention.sum()
    embedding = (attention[:, None] * hidden).sum(0)
    negative, positive = linear("classifier", embedding)

    output = head(features)
    torch.testing.assert_close(output.attention, attention)
    torch.testing.assert_close(output.embedding, embedding)
    torch.testing.assert_close(output.logit, positive - negative)
    assert output.logit.shape == ()


def test_initial_weights_are_xavier_normal_with_zero_bias():
    head = GatedAttention(GatedAttentionConfig(input_dim=300, trunk_dim=200, gate_dim=100), seed=5)
    assert head.trunk1.weight.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert all(not parameter.any() for name, parameter in head.named_parameters() if name.endswith("bias"))


def test_construction_is_seeded_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (GatedAttention(SMALL, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.trunk1.weight, again.trunk1.weight)
    assert not torch.equal(first.trunk1.weight, other.trunk1.weight)


def test_every_site_has_a_dropout_of_its_rate():
    head = GatedAttention(GatedAttentionConfig(input_dim=4, trunk_dropout=0.1, gate_dropout=0.2, head_dropout=0.3))
    rates = {site: module.p for site, module in head.dropout.items()}
    assert rates == {"trunk1": 0.1, "trunk2": 0.1, "gate_tanh": 0.2, "gate_sigmoid": 0.2, "head": 0.3}


def test_training_mode_drops_and_evaluation_does_not():
    head = GatedAttention(SMALL)
    features = bag(6)
    assert head.train()(features).logit.item() != head(features).logit.item()
    assert head.eval()(features).logit.item() == head(features).logit.item()


def test_gradients_reach_every_weight():
    # in double precision: the attention bias cancels in the softmax, its gradient is zero up to rounding
    head = GatedAttention(SMALL, seed=2)
    head(bag(8)).logit.backward()
    silent = [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert silent == []


def test_attention_stays_float32_under_autocast():
    head = GatedAttention(SMALL).eval()
    features = bag(2000) * 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(features)
    assert output.attention.dtype == output.logit.dtype == output.embedding.dtype == torch.float32
    assert output.attention.sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(12,), (3, 11), (1, 3, 12)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(BagShapeMismatch):
        GatedAttention(SMALL)(torch.zeros(shape))


def test_an_empty_bag_is_refused():
    with pytest.raises(BagEmpty) as caught:
        GatedAttention(SMALL)(torch.zeros(0, 12))
    assert caught.value.code == "PEL-MODEL-104"
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
