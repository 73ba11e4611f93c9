import numpy as np
import pytest
import torch

from heads import CONFIG, SHARED, make_bag, make_head
from pellucid.aggregators import GatedAttentionConfig
from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch
from pellucid.statistics.posterior import summarise
from pellucid.uncertainty import Sampler, run_deterministic, run_ensemble, run_passes
from pellucid.uncertainty.bags import CHUNK_TILES
from pellucid.uncertainty.errors import BagNonFinite, BagPrecisionMismatch, LogitNonFinite, TooFewPasses

either = pytest.mark.parametrize("config", [CONFIG, SHARED], ids=["dropout in the trunk", "shared trunk"])


def plain(head, features):
    with torch.inference_mode():
        return head(torch.from_numpy(features).float())


@either
@pytest.mark.parametrize("n", [1, 40, CHUNK_TILES + 5])
def test_a_pass_of_an_ensemble_is_a_head_without_dropout(config, n):
    heads, features = [make_head(config, seed) for seed in range(5)], make_bag(n)
    passes = run_ensemble(heads, features)
    outputs = [plain(head, features) for head in heads]
    attention = np.stack([output.attention.double().numpy() for output in outputs])
    np.testing.assert_allclose(passes.logits, [output.logit.item() for output in outputs], atol=1e-5)
    np.testing.assert_allclose(passes.attention_mean, attention.mean(0), atol=1e-5 / n, rtol=1e-5)
    np.testing.assert_allclose(passes.attention_sd, attention.std(0, ddof=1), atol=1e-5 / n, rtol=1e-4)
    np.testing.assert_allclose(passes.embedding, outputs[0].embedding.numpy(), atol=1e-5)
    assert passes.dropout_free_logit == passes.logits[0]


@either
def test_the_three_sources_agree_to_the_bit_on_a_head_without_dropout(config):
    heads, features = [make_head(config, seed) for seed in range(3)], make_bag(CHUNK_TILES + 5)
    alone = [run_deterministic(head, features) for head in heads]
    assert np.array_equal(run_ensemble(heads, features).logits, [one.logits[0] for one in alone])
    passes = run_passes(heads[0], features, model="m")
    assert alone[0].logits.tolist() == [passes.dropout_free_logit] == [alone[0].dropout_free_logit]
    assert np.array_equal(alone[0].embedding, passes.embedding)


def test_a_single_network_has_no_spread():
    passes = run_deterministic(make_head(), make_bag(30))
    assert passes.logits.shape == (1,)
    assert passes.attention_mean.sum() == pytest.approx(1, abs=1e-5)
    assert not passes.attention_sd.any()
    assert passes.attention_sd.shape == passes.attention_mean.shape == (30,)


def test_a_posterior_can_be_summarised_from_either():
    ensemble: Sampler = lambda bag: run_ensemble([make_head(seed=seed) for seed in range(5)], bag)  # noqa: E731
    single: Sampler = lambda bag: run_deterministic(make_head(), bag)  # noqa: E731
    assert summarise(ensemble(make_bag(20)).logits, temperature=1.3, n_scans=1).sd_logit > 0
    assert summarise(single(make_bag(20)).logits, temperature=1.3, n_scans=1).sd_logit == 0


def test_a_training_flag_changes_nothing_and_no_generator_is_advanced():
    head, features = make_head(), make_bag(30)
    before, state = run_deterministic(head, features).logits, torch.get_rng_state()
    assert np.array_equal(run_deterministic(head.train(), features).logits, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_heads_of_unequal_widths_can_be_held_together():
    heads = [make_head(), make_head(GatedAttentionConfig(input_dim=16, trunk_dim=8, gate_dim=4))]
    assert run_ensemble(heads, make_bag(10)).embedding.shape == (32,)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_heads_are_no_ensemble(count):
    with pytest.raises(TooFewPasses, match=f"of {count}"):
        run_ensemble([make_head()] * count, make_bag(5))


def test_bags_that_cannot_be_scored_are_coded_errors():
    heads, features = [make_head(), make_head(GatedAttentionConfig(input_dim=15))], make_bag(5)
    with pytest.raises(BagEmpty):
        run_deterministic(heads[0], features[:0])
    with pytest.raises(BagShapeMismatch, match="15"):
        run_ensemble(heads, features)
    with pytest.raises(BagPrecisionMismatch):
        run_deterministic(heads[0], features.astype(np.float32))
    features[3, 3] = np.nan
    with pytest.raises(BagNonFinite, match="1 of 5"):
        run_ensemble([heads[0]] * 2, features)


def test_a_head_that_overflows_is_an_error():
    broken = make_head(seed=1)
    with torch.no_grad():
        broken.trunk1.weight.fill_(1e38)
    with pytest.raises(LogitNonFinite):
        run_ensemble([make_head(), broken], np.full((3, 16), 100, np.float16))
