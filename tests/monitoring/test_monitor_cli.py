"""`pellucid monitor report` on real records and a real signed bundle."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from pellucid.bundle import BundleMissing, BundleParts, BundleUntrusted, Calibration, SigningKey, build_bundle
from pellucid.cli.monitor import app
from pellucid.core.seeds import generator
from pellucid.records import DATABASE_NAME, NewTask, RecordsUnavailable, open_records, process_owner

RUN = "run-1"


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate()


@pytest.fixture(scope="module")
def make_bundle(key, tmp_path_factory):
    """Builds a tiny real bundle with a given reference."""
    import torch

    from pellucid.aggregators import GatedAttention, GatedAttentionConfig, load_head
    from pellucid.bundle import record_golden
    from pellucid.encoders import SmallEncoder, load_encoder, small_spec, state_digest
    from pellucid.uncertainty import model_digest

    def build(reference):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder_state = SmallEncoder().state_dict()
        spec = replace(small_spec(state_digest(encoder_state)), batch_size=2)
        config = GatedAttentionConfig(input_dim=spec.dim, trunk_dim=8, gate_dim=4)
        head_state = GatedAttention(config, seed=1).state_dict()
        model = model_digest(spec, config, state_digest(head_state))
        draw = generator("golden")
        golden = record_golden(
            load_encoder(spec, encoder_state),
            load_head(config, head_state),
            model=model,
            pixels=draw.integers(0, 256, (1, spec.tile_px, spec.tile_px, 3), dtype=np.uint8),
            features=draw.normal(size=(4, spec.dim)).astype(np.float16),
            n_passes=4,
        )
        parts = BundleParts(
            name="tiny",
            synthetic=True,
            spec=spec,
            encoder_state=encoder_state,
            head_config=config,
            head_state=head_state,
            calibration=Calibration(
                temperature=1.5, n_passes=4, n_specimens=14, n_positive=7, nll_before=0.7, nll_after=0.6
            ),
            reference=replace(reference, mean=(0.0,) * 8, components=((1.0,) + (0.0,) * 7,)),
            golden=golden,
            model_card="# Tiny\n",
            software_version="0.1.0",
            licence="Apache-2.0",
            provenance={"cohort": "ab" * 32},
        )
        folder = tmp_path_factory.mktemp("bundles") / "tiny"
        build_bundle(folder, parts, key)
        return folder, model

    return build


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def record(out, observations, decisions):
    """Put observations and decisions into real records, as a run does."""
    with open_records(out / DATABASE_NAME) as records:
        versions = decisions[0].versions
        records.start_run(run_id=RUN, purpose="research", versions=versions, settings={}, command="pellucid run")
        for one in observations:
            records.register_specimen(one.specimen, f"C-{one.specimen}", f"P-{one.specimen}", [one.scan], one.strata)
            records.enqueue([NewTask(key=one.scan, kind="scan", specimen=one.specimen)], run_id=RUN)
            task = records.claim(process_owner())
            if one.error is None:
                records.complete(task, observation=replace(one, run=RUN))
            else:
                records.fail(task, code=one.error, message="empty", observation=replace(one, run=RUN))
        for decision in decisions:
            records.save_decision(decision, run_id=RUN)


def report(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "120"})


def test_the_four_questions_are_answered_from_records_and_bundle(out, make, make_bundle, key, tmp_path):
    folder, model = make_bundle(make.reference(14))
    key.save(tmp_path / "site")
    observations = [make.observe(i, model=model) for i in range(6)] + [replace(make.failure(6), model=model)]
    decisions = [make.decide(f"S{i}") for i in range(7)]
    decisions = [replace(one, versions=replace(one.versions, model=model)) for one in decisions]
    record(out, observations, decisions)

    said = report("--out", out, "--bundle", folder, "--trust", tmp_path / "site.pub")

    assert said.exit_code == 0, said.output
    assert "Monitoring under tiny (SYNTHETIC)" in said.stdout
    assert "PEL-SLIDE-001 1" in said.stdout
    assert "Too few scans to tell: 6 specimens" in said.stdout
    assert "only 14 specimens" in said.stdout
    assert "no_certificate" in said.stdout

    answer = json.loads(report("--out", out, "--bundle", folder, "--trust", tmp_path / "site.pub", "--json").stdout)
    assert (answer["drift"]["state"], answer["drift"]["n_reference"]) == ("too_few", 14)
    assert answer["escalation"]["escalated"]["k"] == 7
    assert answer["seen"]["failed"] | {"low": 0, "high": 0} == {"k": 1, "n": 7, "share": 1 / 7, "low": 0, "high": 0}


def test_without_a_bundle_there_is_no_drift_to_tell(out, make):
    record(out, [make.observe(1)], [make.decide("S1")])

    answer = json.loads(report("--db", out / DATABASE_NAME, "--json").stdout)

    assert answer["drift"]["state"] == "no_reference"
    assert answer["seen"]["n_scans"] == 1


def test_since_leaves_out_earlier_scans(out, make):
    record(out, [make.observe(i, day=i) for i in (1, 2, 3)], [make.decide("S1")])

    assert json.loads(report("--out", out, "--since", "2026-11-02", "--json").stdout)["seen"]["n_scans"] == 2


def test_records_are_only_read(out, make):
    record(out, [make.observe(1)], [make.decide("S1")])
    before = (out / DATABASE_NAME).read_bytes()

    report("--out", out)

    assert (out / DATABASE_NAME).read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["--db", "a", "--out", "b"]])
def test_one_place_of_records_must_be_named(arguments):
    said = report(*arguments)

    assert said.exit_code == 2
    assert "--db or --out" in said.output


def test_missing_records_are_a_coded_error_and_none_are_made(out):
    said = report("--out", out)

    assert isinstance(said.exception, RecordsUnavailable)
    assert not out.exists()


def test_a_bundle_must_be_there_and_trusted(out, make, make_bundle, tmp_path):
    record(out, [make.observe(1)], [make.decide("S1")])
    folder, _ = make_bundle(make.reference(14))

    assert isinstance(report("--out", out, "--bundle", tmp_path / "none").exception, BundleMissing)
    assert isinstance(report("--out", out, "--bundle", folder).exception, BundleUntrusted)


def test_reporting_never_imports_torch(out, make, make_bundle, key, tmp_path):
    folder, _ = make_bundle(make.reference(14))
    key.save(tmp_path / "site")
    record(out, [make.observe(1)], [make.decide("S1")])
    program = (
        "import sys; from pellucid.cli.monitor import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    arguments = ["report", "--out", str(out), "--bundle", str(folder), "--trust", str(tmp_path / "site.pub")]

    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
