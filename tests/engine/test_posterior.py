from dataclasses import replace

import numpy as np
import pytest

from pellucid.aggregators import GatedAttention
from pellucid.bundle import build_bundle, load_bundle
from pellucid.core.seeds import generator
from pellucid.domain.tumour import TumourHead
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
from pellucid.engine.messages import Refused, Role, Sample
from pellucid.uncertainty import run_deterministic, run_passes, tumour_probability

MODULE = "pellucid.engine.posterior"
N_TILES, DIM = 60, 192


@pytest.fixture
def sampler(pristine, key):
    return {
        "factory": "pellucid.engine.models:sampler_of_bundle",
        "folder": pristine,
        "trusted": [key.trusted()],
        "digest": load_bundle(pristine, [key.trusted()]).digest,
    }


@pytest.fixture(scope="session")
def tumour():
    weights = tuple(generator("tumour").normal(size=DIM).tolist())
    return TumourHead(weights=weights, bias=-0.5, threshold=0.5, limit=0.05, n_tiles=100, auroc=0.9)


@pytest.fixture(scope="session")
def with_more_heads(tmp_path_factory, parts, key, tumour):
    """A bundle that holds an ensemble and a tumour head."""
    others = tuple(GatedAttention(parts.head_config, seed=seed).state_dict() for seed in (2, 3))
    fuller = replace(parts, ensemble=others, tumour=tumour)
    return build_bundle(tmp_path_factory.mktemp("bundles") / "fuller", fuller, key)


def write(path, readable, features, n_tiles=N_TILES):
    checkpoint = Checkpoint.open(path, CheckpointHeader(scan="a", spec="b", grid="c", n_tiles=n_tiles, dim=DIM))
    checkpoint.write(np.arange(len(readable)), features, readable)
    checkpoint.close()


def test_the_passes_are_those_of_the_readable_tiles_to_the_bit(play, sampler, tmp_path, pristine, key):
    features = generator("bag").normal(size=(N_TILES, DIM)).astype(np.float16)
    readable = np.arange(N_TILES) % 7 != 3
    write(tmp_path / "scan", readable, features)

    async def scene(start):
        one = await start(MODULE, role=Role.POSTERIOR, **sampler)
        first = await one.ask(Sample(job=1, path=tmp_path / "scan"))
        return first, await one.ask(Sample(job=2, path=tmp_path / "scan"))

    first, second = play(scene)
    bundle = load_bundle(pristine, [key.trusted()])
    passes = run_passes(
        bundle.load_head(), features[readable], model=bundle.model_digest, n_passes=bundle.calibration.n_passes
    )
    for sampled in (first, second):
        assert np.array_equal(sampled.logits, passes.logits)
        assert sampled.dropout_free_logit == passes.dropout_free_logit
        assert np.array_equal(sampled.attention_mean, passes.attention_mean)
        assert np.array_equal(sampled.attention_sd, passes.attention_sd)
        assert np.array_equal(sampled.embedding, passes.embedding)
    assert len(first.attention_mean) == readable.sum()


def test_the_ensemble_and_the_tumour_head_of_a_bundle_speak_beside_the_passes(
    play, sampler, tmp_path, with_more_heads, key, tumour
):
    features = generator("bag").normal(size=(N_TILES, DIM)).astype(np.float16)
    write(tmp_path / "scan", np.ones(N_TILES, bool), features)
    bundle = load_bundle(with_more_heads, [key.trusted()])
    fuller = sampler | {"folder": with_more_heads, "digest": bundle.digest}

    async def scene(start):
        plain = await start(MODULE, role=Role.POSTERIOR, **sampler)
        one = await start(MODULE, role=Role.POSTERIOR, **fuller)
        return [await which.ask(Sample(job=1, path=tmp_path / "scan")) for which in (plain, one)]

    plain, sampled = play(scene)
    heads = (bundle.load_head(), *bundle.load_ensemble())
    assert np.array_equal(sampled.ensemble_logits, [run_deterministic(head, features).logits[0] for head in heads])
    assert len(set(sampled.ensemble_logits)) == 3
    assert np.array_equal(sampled.tumour, tumour_probability(tumour, features))
    assert np.array_equal(sampled.logits, plain.logits)
    assert plain.ensemble_logits.shape == (0,)
    assert plain.tumour is None


def test_a_checkpoint_that_is_not_whole_is_refused(play, sampler, tmp_path):
    write(tmp_path / "part", np.ones(10, bool), np.zeros((10, DIM), np.float16))
    write(tmp_path / "nan", np.ones(5, bool), np.full((5, DIM), np.nan, np.float16), n_tiles=5)

    async def scene(start):
        one = await start(MODULE, role=Role.POSTERIOR, **sampler)
        return [await one.ask(Sample(job=n, path=tmp_path / name)) for n, name in enumerate(("part", "nan"))]

    part, nan = play(scene)
    assert isinstance(part, Refused)
    assert part.code == "PEL-ENGINE-021"
    assert isinstance(nan, Refused)
    assert nan.code


def test_another_bundle_than_the_expected_one_is_not_sampled_from(play, sampler):
    async def scene(start):
        one = await start(MODULE, role=Role.POSTERIOR, **(sampler | {"digest": "0" * 64}))
        return (await one.ready()).code

    assert play(scene) == "PEL-ENGINE-001"
