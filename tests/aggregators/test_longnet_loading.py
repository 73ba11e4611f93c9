"""Weights of the slide encoder load strictly, from a path or the hub's cache, or the first difference is named."""

import os
import subprocess
import sys

import pytest
import torch

from pellucid.aggregators import LongNetConfig, LongNetSlideEncoder, fetch_slide_weights, load_slide_encoder
from pellucid.aggregators.errors import (
    HubRevisionUnpinned,
    SlideWeightsAltered,
    SlideWeightsMismatch,
    SlideWeightsUnreadable,
)
from pellucid.core.digests import digest_file

SMALL = LongNetConfig(input_dim=6, dim=16, depth=2, heads=4, ffn_dim=24, segments=(8, 12), ratios=(1, 2))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def state():
    return LongNetSlideEncoder(SMALL, seed=7).state_dict()


def saved(folder, state):
    path = folder / "slide_encoder.pth"
    torch.save({"model": state}, path)
    return path


def test_full_size_random_weights_load_strictly(tmp_path):
    shapes = LongNetSlideEncoder(device="meta").state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.empty(tensor.shape).uniform_(-0.02, 0.02, generator=generator) for name, tensor in shapes.items()
    }
    encoder = load_slide_encoder(saved(tmp_path, state))
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    embedding = encoder(torch.randn(20, 1536, generator=generator), torch.arange(40).view(20, 2) * 256.0)
    assert embedding.shape == (768,)
    assert bool(torch.isfinite(embedding).all())


def test_small_weights_come_back_bit_by_bit(tmp_path, state):
    encoder = load_slide_encoder(saved(tmp_path, state), SMALL)
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())
    assert not encoder.training


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("encoder.layers.1.ffn.fc2.bias"), "'encoder.layers.1.ffn.fc2.bias': it is missing"),
        (lambda state: state.update(pos_embed=torch.zeros(1, 3, 16)), "'pos_embed': a slide encoder has no such"),
        (lambda state: state.update(cls_token=torch.zeros(1, 16)), r"'cls_token': its shape is \(1, 16\)"),
        (
            lambda state: state.update({"norm.bias": state["norm.bias"].half()}),
            "'norm.bias': its type is torch.float16",
        ),
        (lambda state: state["norm.weight"].fill_(float("nan")), "'norm.weight': it holds NaN"),
        (lambda state: state.update({"norm.bias": [0.0] * 16}), "'norm.bias': it is list"),
    ],
)
def test_first_differing_key_is_named(tmp_path, state, change, named):
    change(state)
    with pytest.raises(SlideWeightsMismatch, match=named):
        load_slide_encoder(saved(tmp_path, state), SMALL)


def test_weights_of_another_depth_name_the_first_key_too_many(tmp_path):
    deeper = LongNetSlideEncoder(LongNetConfig(**{**_fields(SMALL), "depth": 3})).state_dict()
    with pytest.raises(SlideWeightsMismatch, match=r"'encoder\.layers\.2\.ffn\.fc1\.bias'"):
        load_slide_encoder(saved(tmp_path, deeper), SMALL)


def _fields(config):
    return {name: getattr(config, name) for name in config.__slots__}


@pytest.mark.parametrize("kept", [0, 100, 2000, -50])
def test_truncated_file_is_refused(tmp_path, state, kept):
    path = saved(tmp_path, state)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SlideWeightsUnreadable):
        load_slide_encoder(path, SMALL)


@pytest.mark.parametrize("contents", [{"weights": {}}, [1, 2], {"model": torch.zeros(3)}])
def test_file_without_a_model_is_refused(tmp_path, contents):
    torch.save(contents, tmp_path / "other.pth")
    with pytest.raises(SlideWeightsUnreadable, match="no entry 'model'"):
        load_slide_encoder(tmp_path / "other.pth", SMALL)


def test_foreign_and_missing_files_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("text.pth", "missing.pth"):
        with pytest.raises(SlideWeightsUnreadable):
            load_slide_encoder(tmp_path / name, SMALL)


class _Runs:
    def __reduce__(self):
        return (os.mkdir, ("it-ran",))


def test_file_that_would_run_code_is_refused_and_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Runs()}, tmp_path / "evil.pth")
    with pytest.raises(SlideWeightsUnreadable):
        load_slide_encoder(tmp_path / "evil.pth", SMALL)
    assert not (tmp_path / "it-ran").exists()


def test_pinned_digest_is_checked(tmp_path, state):
    path = saved(tmp_path, state)
    load_slide_encoder(path, SMALL, digest=digest_file(path))
    with pytest.raises(SlideWeightsAltered):
        load_slide_encoder(path, SMALL, digest="0" * 64)


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper(), ""])
def test_unpinned_revision_is_refused(revision):
    with pytest.raises(HubRevisionUnpinned):
        fetch_slide_weights(revision)


def fetch_offline(home):
    script = (
        "from pellucid.aggregators import fetch_slide_weights\n"
        "from pellucid.core.errors import PellucidError\n"
        "try:\n"
        f"    print(fetch_slide_weights({COMMIT!r}))\n"
        "except PellucidError as error:\n"
        "    print(error.code)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_without_a_network_the_hub_is_a_coded_error(tmp_path):
    assert fetch_offline(tmp_path) == "PEL-MODEL-110"


def test_file_in_the_hub_cache_is_found_at_its_commit(tmp_path):
    snapshot = tmp_path / "hub" / "models--prov-gigapath--prov-gigapath" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "slide_encoder.pth").write_bytes(b"weights")
    assert fetch_offline(tmp_path) == str(snapshot / "slide_encoder.pth")
