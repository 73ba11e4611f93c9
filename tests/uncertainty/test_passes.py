import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heads import CONFIG, SHARED, make_bag, make_head, naive_passes
from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.aggregators.errors import BagEmpty, BagShapeMismatch
from pellucid.uncertainty import Sampler, run_passes
from pellucid.uncertainty.bags import CHUNK_TILES
from pellucid.uncertainty.errors import BagNonFinite, BagPrecisionMismatch, LogitNonFinite, TooFewPasses

both_ways = pytest.mark.parametrize("config", [CONFIG, SHARED], ids=["dropout in the trunk", "shared trunk"])


@both_ways
@pytest.mark.parametrize("n", [1, 2, 63, CHUNK_TILES, CHUNK_TILES + 1, 2 * CHUNK_TILES + 77])
def test_agrees_with_the_plain_module_pass_by_pass(config, n):
    head, features = make_head(config), make_bag(n)
    logits, attention = naive_passes(head, features, "m", 20)
    passes = run_passes(head, features, model="m", n_passes=20)
    np.testing.assert_allclose(passes.logits, logits, atol=1e-5)
    np.testing.assert_allclose(passes.attention_mean, attention.mean(0), atol=1e-5 / n, rtol=1e-5)
    np.testing.assert_allclose(passes.attention_sd, attention.std(0, ddof=1), atol=1e-5 / n, rtol=1e-5)


@both_ways
def test_in_double_precision_the_algebra_is_exact(config):
    head, features = make_head(config).double(), make_bag(1500)
    logits, attention = naive_passes(head, features, "m", 10)
    passes = run_passes(head, features, model="m", n_passes=10)
    np.testing.assert_allclose(passes.logits, logits, atol=1e-12)
    np.testing.assert_allclose(passes.attention_mean, attention.mean(0), rtol=1e-6)


@pytest.mark.parametrize("trunk_dropout", [0.25, 0.0])
def test_agrees_with_the_plain_module_at_eagles_size(trunk_dropout):
    head = make_head(GatedAttentionConfig(input_dim=1536, trunk_dropout=trunk_dropout))
    features = make_bag(300, dim=1536)
    logits, _ = naive_passes(head, features, "m", 5)
    np.testing.assert_allclose(run_passes(head, features, model="m", n_passes=5).logits, logits, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    widths=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    rates=st.tuples(*[st.sampled_from([0.0, 0.1, 0.5, 0.95])] * 3),
    n=st.integers(1, 12),
    model=st.text(max_size=5),
)
def test_agrees_for_any_head_even_where_all_channels_are_dropped(widths, rates, n, model):
    config = GatedAttentionConfig(
        input_dim=widths[0],
        trunk_dim=widths[1],
        gate_dim=widths[2],
        trunk_dropout=rates[0],
        gate_dropout=rates[1],
        head_dropout=rates[2],
    )
    head, features = make_head(config), make_bag(n, dim=widths[0])
    logits, attention = naive_passes(head, features, model, 3)
    passes = run_passes(head, features, model=model, n_passes=3)
    np.testing.assert_allclose(passes.logits, logits, atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(passes.attention_mean, attention.mean(0), atol=1e-5)


def test_the_dropout_free_answer_is_the_heads_own():
    head, features = make_head(), make_bag(1300)
    passes = run_passes(head, features, model="m", n_passes=2)
    with torch.inference_mode():
        output = head(torch.from_numpy(features).float())
    assert passes.dropout_free_logit == pytest.approx(output.logit.item(), abs=1e-5)
    np.testing.assert_allclose(passes.embedding, output.embedding.numpy(), atol=1e-5)


def test_shapes_and_types_are_as_promised():
    passes = run_passes(make_head(), make_bag(9), model="m")
    assert passes.logits.shape == (50,)
    assert passes.logits.dtype == np.float64
    assert passes.attention_mean.shape == passes.attention_sd.shape == (9,)
    assert passes.attention_mean.dtype == passes.attention_sd.dtype == passes.embedding.dtype == np.float32
    assert passes.embedding.shape == (32,)
    assert passes.attention_mean.sum() == pytest.approx(1.0, abs=1e-5)


def test_attention_itself_varies_between_passes():
    passes = run_passes(make_head(), make_bag(200), model="m")
    assert (passes.attention_sd > 0.05 * passes.attention_mean).all()
    assert np.unique(passes.logits).size == 50


def test_without_dropout_all_passes_are_the_dropout_free_head():
    config = GatedAttentionConfig(input_dim=16, trunk_dropout=0.0, gate_dropout=0.0, head_dropout=0.0)
    passes = run_passes(make_head(config), make_bag(40), model="m", n_passes=4)
    assert (passes.logits == passes.dropout_free_logit).all()
    assert not passes.attention_sd.any()


@both_ways
def test_same_bits_on_a_second_run_whatever_ran_between(config):
    head, features = make_head(config), make_bag(2500)
    first = run_passes(head, features, model="m")
    run_passes(head, make_bag(77, seed=1), model="m")
    run_passes(make_head(seed=5), features, model="another", n_passes=3)
    torch.manual_seed(123)
    again = run_passes(head, features.copy(), model="m")
    assert first.logits.tobytes() == again.logits.tobytes()
    assert first.attention_mean.tobytes() == again.attention_mean.tobytes()
    assert first.attention_sd.tobytes() == again.attention_sd.tobytes()
    assert first.embedding.tobytes() == again.embedding.tobytes()


def test_same_bits_in_another_process_and_from_a_strided_view():
    code = """
import sys, numpy as np
from pellucid.aggregators import GatedAttention, GatedAttentionConfig
from pellucid.uncertainty import run_passes
config = GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24, gate_dropout=0.4, head_dropout=0.1)
wide = np.zeros((500, 33), np.float16)
wide[:, 1::2] = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float16)
sys.stdout.write(run_passes(GatedAttention(config, seed=0), wide[:, 1::2], model="m").logits.tobytes().hex())
"""
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert finished.stdout == run_passes(make_head(), make_bag(500), model="m").logits.tobytes().hex()


@pytest.mark.parametrize("trunk_dropout", [0.25, 0.0])
@pytest.mark.parametrize("n", [1, 77, CHUNK_TILES + 76])
def test_same_bits_on_any_number_of_threads_which_is_put_back(n, trunk_dropout):
    head = make_head(GatedAttentionConfig(input_dim=512, trunk_dropout=trunk_dropout))
    features = make_bag(n, dim=512)
    before, found = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(run_passes(head, features, model="m", n_passes=4).logits.tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


@both_ways
def test_calls_from_several_threads_give_the_same_bits(config):
    head, features = make_head(config), make_bag(600)
    alone = run_passes(head, features, model="m").logits.tobytes()
    before = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        together = [pool.submit(run_passes, head, features, model="m") for _ in range(8)]
    assert {future.result().logits.tobytes() for future in together} == {alone}
    assert torch.get_num_threads() == before


@both_ways
@pytest.mark.parametrize(("few", "many"), [(5, 20), (2, 63), (50, 64), (63, 200)])
def test_more_passes_continue_the_same_sequence(config, few, many):
    head, features = make_head(config), make_bag(1100)
    first, second = (run_passes(head, features, model="m", n_passes=n) for n in (few, many))
    assert np.array_equal(first.logits, second.logits[:few])
    assert first.dropout_free_logit == second.dropout_free_logit


@both_ways
def test_a_bag_gets_the_same_bits_whatever_other_bags_lie_around_it_in_memory(config):
    head = make_head(config)
    shelf = make_bag(4000)
    within = run_passes(head, shelf[1337:2441], model="m").logits
    alone = run_passes(head, shelf[1337:2441].copy(), model="m").logits
    assert within.tobytes() == alone.tobytes()


def test_another_model_digest_draws_other_networks():
    head, features = make_head(), make_bag(50)
    assert not np.isin(run_passes(head, features, model="m").logits, run_passes(head, features, model="n").logits).any()


@pytest.mark.parametrize("training", [True, False])
def test_no_generator_is_advanced_and_the_head_is_only_read(training):
    head = GatedAttention(CONFIG).train(training)
    weights = {name: weight.clone() for name, weight in head.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    features = make_bag(30)
    kept = features.copy()
    logits = run_passes(head, features, model="m").logits
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert head.training is training
    assert all(torch.equal(weights[name], weight) for name, weight in head.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in head.parameters())
    assert np.array_equal(kept, features)
    assert np.array_equal(logits, run_passes(make_head(), features, model="m").logits)


@settings(max_examples=15, deadline=None)
@given(n=st.integers(2, 300), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_tiles_moves_attention_and_leaves_the_answer(n, seed):
    head, features = make_head(), make_bag(n)
    order = np.random.default_rng(seed).permutation(n)
    straight, mixed = (run_passes(head, bag, model="m", n_passes=5) for bag in (features, features[order]))
    np.testing.assert_allclose(mixed.logits, straight.logits, atol=1e-5)
    np.testing.assert_allclose(mixed.attention_mean, straight.attention_mean[order], rtol=1e-4)
    np.testing.assert_allclose(mixed.attention_sd, straight.attention_sd[order], rtol=1e-3, atol=1e-7)


def rates(**changed):
    """A configuration of the usual widths with 0.25 everywhere but where said otherwise."""
    usual = dict.fromkeys(("trunk_dropout", "gate_dropout", "head_dropout"), 0.25)
    return GatedAttentionConfig(input_dim=16, trunk_dim=32, gate_dim=24, **(usual | changed))


@pytest.mark.parametrize("site", ["trunk_dropout", "gate_dropout", "head_dropout"])
def test_dropout_is_live_at_every_site(site):
    bags = [make_bag(80, seed=seed) for seed in range(20)]
    without = dict.fromkeys(("trunk_dropout", "gate_dropout", "head_dropout"), 0.0)

    def mean_variance(config):
        head = make_head(config)
        # an untrained head attends to all tiles alike, whatever its gates say
        head.attention.weight.mul_(10)
        return np.mean([run_passes(head, bag, model="m").logits.var(ddof=1) for bag in bags])

    assert mean_variance(rates(**without)) < 1e-24
    assert mean_variance(rates(**(without | {site: 0.25}))) > 1e-6
    assert mean_variance(rates(**{site: 0.0})) < 0.85 * mean_variance(rates())


def test_gate_dropout_reaches_the_attention_and_head_dropout_does_not():
    gates, head = (
        run_passes(make_head(rates(trunk_dropout=0.0, **{other: 0.0})), make_bag(80), model="m")
        for other in ("head_dropout", "gate_dropout")
    )
    assert (gates.attention_sd > 1e-3 * gates.attention_mean).all()
    assert (head.attention_sd < 1e-12).all()
    assert head.logits.std() > 0


def test_bags_that_cannot_be_scored_are_coded_errors():
    head, features = make_head(), make_bag(5)
    with pytest.raises(BagEmpty):
        run_passes(head, features[:0], model="m")
    with pytest.raises(BagShapeMismatch):
        run_passes(head, features[:, :15], model="m")
    with pytest.raises(BagPrecisionMismatch, match="float32"):
        run_passes(head, features.astype(np.float32), model="m")
    with pytest.raises(TooFewPasses):
        run_passes(head, features, model="m", n_passes=1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_broken_embedding_is_found_and_counted(value):
    features = make_bag(3000)
    features[2999, 15] = value
    with pytest.raises(BagNonFinite, match="1 of 3000"):
        run_passes(make_head(), features, model="m")


def test_the_largest_float16_is_no_infinity():
    features = make_bag(4)
    features[0, 0] = np.finfo(np.float16).max
    assert np.isfinite(run_passes(make_head(), features, model="m").logits).all()


@both_ways
def test_a_logit_that_overflows_is_an_error(config):
    head = make_head(config)
    with torch.no_grad():
        head.trunk1.weight.fill_(1e38)
    with pytest.raises(LogitNonFinite):
        run_passes(head, np.full((3, 16), 100, np.float16), model="m")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_answer_and_repeats_its_bits():
    config = GatedAttentionConfig(input_dim=1536)
    features = make_bag(5000, dim=1536)
    on_cpu = run_passes(make_head(config), features, model="m")
    first, again = (run_passes(make_head(config).cuda(), features, model="m") for _ in range(2))
    np.testing.assert_allclose(first.logits, on_cpu.logits, atol=1e-4)
    np.testing.assert_allclose(first.attention_mean, on_cpu.attention_mean, rtol=1e-3)
    assert first.logits.tobytes() == again.logits.tobytes()


def test_the_engine_is_a_sampler():
    sampler: Sampler = partial(run_passes, make_head(), model="m", n_passes=3)
    assert sampler(make_bag(4)).logits.shape == (3,)
