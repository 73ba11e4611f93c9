"""`pellucid bundle` on a real bundle: trust comes from the settings or an explicit key, and from nowhere else."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
from pellucid.bundle import (
    BundleAltered,
    BundleParts,
    BundleUntrusted,
    Calibration,
    SigningKey,
    build_bundle,
    record_golden,
)
from pellucid.cli.bundle import app
from pellucid.domain.reference import ReferenceProfile
from pellucid.domain.tumour import TumourHead
from pellucid.domain.tuning import PatientDigests
from pellucid.encoders import SmallEncoder, load_encoder, small_spec, state_digest
from pellucid.uncertainty import model_digest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, the key that signed it, and settings that trust it."""
    folder = tmp_path_factory.mktemp("site")
    key = SigningKey.generate()
    key.save(folder / "keys" / "maker")
    build_bundle(folder / "bundle", _parts(), key)
    (folder / "pellucid.toml").write_text('trusted_keys = ["keys"]')
    return folder


def _parts() -> BundleParts:
    encoder = SmallEncoder().state_dict()
    spec = replace(small_spec(state_digest(encoder)), batch_size=1)
    config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=4, gate_dim=4)
    head = GatedAttention(config, seed=1).state_dict()
    golden = record_golden(
        load_encoder(spec, encoder),
        load_head(config, head),
        model=model_digest(spec, config, state_digest(head)),
        pixels=np.full((1, 224, 224, 3), 200, dtype=np.uint8),
        features=np.ones((3, spec.dim), dtype=np.float16),
        n_passes=4,
    )
    return BundleParts(
        name="tiny",
        synthetic=True,
        spec=spec,
        encoder_state=encoder,
        head_config=config,
        head_state=head,
        calibration=Calibration(
            temperature=1.5, n_passes=4, n_specimens=2, n_positive=1, nll_before=0.7, nll_after=0.6
        ),
        reference=ReferenceProfile(
            mean=(0.0,),
            components=((1.0,),),
            residual_scale=1,
            distance_limit=3,
            sd_limit=1,
            features={},
            n_specimens=2,
        ),
        golden=golden,
        model_card="# Tiny\n",
        software_version="0",
        licence="Apache-2.0",
        provenance={"cohort": "c0ffee"},
        ensemble=[GatedAttention(config, seed=seed).state_dict() for seed in (2, 3, 4)],
        tumour=TumourHead(weights=(0.0,) * spec.dim, bias=0.0, threshold=0.5, limit=0.0625, n_tiles=321, auroc=0.9876),
        patients=PatientDigests(salt="00" * 16, training=("0" * 16, "1" * 16), tuning=("2" * 16,)),
    )


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_verify_trusts_what_the_settings_list(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "verified (files, signature, model digest)" in _run(
        "verify", site / "bundle", "--config", site / "pellucid.toml"
    )
    monkeypatch.chdir(site)
    assert "verified" in _run("verify", "bundle")


def test_verify_trusts_a_key_that_is_named(site: Path) -> None:
    _run("verify", site / "bundle", "--trust", site / "keys" / "maker.pub")
    _run("verify", site / "bundle", "--trust", site / "keys")


def test_verify_trusts_nothing_by_itself(site: Path) -> None:
    with pytest.raises(BundleUntrusted):
        _run("verify", site / "bundle")


def test_verify_runs_the_model_where_asked(site: Path) -> None:
    plain = json.loads(_run("verify", site / "bundle", "--trust", site / "keys", "--golden", "--json"))
    assert plain["verified"] == ["files", "signature", "model digest", "golden checks"]


def test_verify_names_what_was_altered(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site / "bundle", tmp_path / "bundle")
    with (tmp_path / "bundle" / "model_card.md").open("a") as file:
        file.write("Approved for diagnosis.")
    with pytest.raises(BundleAltered, match=r"model_card\.md"):
        _run("verify", tmp_path / "bundle", "--trust", site / "keys")


def test_show_says_what_a_synthetic_bundle_is(site: Path) -> None:
    output = _run("show", site / "bundle", "--trust", site / "keys")
    for text in ("SYNTHETIC", "Research use only", "Apache-2.0", "cohort=c0ffee", "# Tiny", "maker"):
        assert text in output


def test_show_says_what_comes_with_the_model(site: Path) -> None:
    output = _run("show", site / "bundle", "--trust", site / "keys")
    facts = dict(line.split(maxsplit=2)[1:] for line in output.splitlines() if line.startswith(("ensemble", "tumour")))
    assert facts["heads"] == "3"
    assert "6.2% tumour tiles" in facts["head"]
    assert "321 tiles" in facts["head"]
    assert "0.988" in facts["head"]
    assert "2 training, 1 tuning" in output
    assert "0" * 16 not in output


def test_show_prints_json_where_asked(site: Path) -> None:
    plain = json.loads(_run("show", site / "bundle", "--trust", site / "keys", "--json"))
    assert plain["synthetic"] is True
    assert plain["temperature"] == 1.5
    assert plain["model_card"].endswith("# Tiny\n")


def test_looking_at_a_bundle_loads_no_torch(site: Path) -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from pellucid.cli.bundle import app\n"
        "result = CliRunner().invoke(app, sys.argv[1:]); print(result.exit_code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "verify", str(site / "bundle"), "--trust", str(site / "keys")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
