import numpy as np
import pytest

from pellucid.bundle import load_bundle
from pellucid.core.seeds import generator
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
from pellucid.engine.messages import Refused, Role, Sample
from pellucid.uncertainty import run_passes

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
