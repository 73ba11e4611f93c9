"""`pellucid certify` and `evaluate` as people type them, and `pellucid run` under policies that don't fit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, BundleParts, SigningKey, build_bundle, load_bundle
from pellucid.bundle.policies import load_policy, write_policy
from pellucid.cohort import SynthesisConfig, read_cohort, synthesise, write_cohort
from pellucid.domain.policy import SitePolicy
from pellucid.domain.tuning import PatientDigests, TuningSpecimen
from pellucid.pipeline.decisions import gates_of
from pellucid.records import DATABASE_NAME, open_records
from policy_parts import certificate, site_policy

QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@dataclass
class Desk:
    """A site with a labelled table, a bundle and keys."""

    folder: Path
    bundle: Bundle
    key: SigningKey

    @property
    def table(self) -> Path:
        return self.folder / "cohort" / "stated.csv"

    def command(self, verb: str, *words: object) -> list[str]:
        trust = ["--bundle", self.bundle.folder, "--trust", self.folder / "bundle.pem.pub"]
        return [sys.executable, "-m", "pellucid", verb, *map(str, (*words, *trust))]

    def run(self, verb: str, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(verb, *words), capture_output=True, text=True, cwd=cwd, env=QUIET)

    @property
    def signing(self) -> list[object]:
        return ["--key", self.folder / "site.pem", "--by", "Dr Test"]

    @property
    def trusting(self) -> list[object]:
        return ["--policy-key", self.folder / "site.pem.pub"]


@pytest.fixture(scope="module")
def desk(parts: BundleParts, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    config = SynthesisConfig(
        seed=13,
        n_training=0,
        n_tuning=0,
        n_certification=3,
        n_test=2,
        special=(),
        slide_px=1536,
        p_fine=0.0,
        p_second_scan=0.0,
    )
    drawn = read_cohort(synthesise(folder / "cohort", config))
    entries = tuple(
        replace(one, strata=(*one.strata, ("diagnosis", "confirmed")), label=nth % 2)
        for nth, one in enumerate(drawn.entries)
    )
    write_cohort(replace(drawn, entries=entries), folder / "cohort" / "stated.csv")
    known = replace(
        parts,
        patients=PatientDigests(salt="5a" * 16, training=(), tuning=()),
        tuning=tuple(
            TuningSpecimen(mean_logit=mean, sd_logit=0.1, low_logit=mean, high_logit=mean, label=0, passed=True)
            for mean in (-2.0, 0.0, 2.0)
        ),
        reference=replace(parts.reference, distance_limit=1e6, sd_limit=1e6),
    )
    bundle = load_bundle(build_bundle(folder / "bundle", known, key), [key.trusted()])
    key.save(folder / "bundle.pem")
    site = SigningKey.generate()
    site.save(folder / "site.pem")
    return Desk(folder, bundle, site)


@pytest.fixture
def fitting(desk: Desk) -> Callable[..., SitePolicy]:
    """A policy about the desk's bundle."""

    def make(**changes: object) -> SitePolicy:
        fits = {"model": desk.bundle.model_digest, "gates": gates_of(desk.bundle).digest, "synthetic": True}
        return site_policy(**(fits | changes))

    return make


def test_certify_writes_a_signed_policy_and_nothing_but_json_to_the_output(desk: Desk, tmp_path: Path) -> None:
    words = ["certify", desk.table, *desk.signing, "--npv", "0", "--ppv", "0.8", "--by-stratum", "scanner", "--json"]
    done = desk.run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    policy = load_policy(tmp_path / "policy.json", [desk.key.trusted()]).policy
    assert (said["digest"], said["file"]) == (policy.digest, "policy.json")
    assert {claim.side.value for one in policy.certificates for claim in one.claims} == {"positive"}
    assert "certifies no threshold" in done.stderr
    names = [name for one in read_cohort(desk.table).entries for name in (one.specimen, one.patient, one.path.name)]
    log = (tmp_path / "certification" / "run.jsonl").read_text()
    with open_records(tmp_path / "certification" / DATABASE_NAME) as records:
        audit = json.dumps([event.content for event in records.audit_events()])
    assert not [name for name in names if name in done.stdout + done.stderr + log + audit]

    again = desk.run(*words, cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    refused = desk.run(*words, "--delta", "0.01", "--policy", "second.json", cwd=tmp_path)
    assert refused.returncode == 1
    assert "PEL-RECORD" in refused.stderr
    assert not (tmp_path / "second.json").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--npv", "0"], "PEL-EVAL-006"),
        (["--npv", "1.2"], "PEL-EVAL-006"),
        (["--missed", "-0.1"], "PEL-EVAL-006"),
        (["--delta", "0"], "PEL-EVAL-006"),
        (["--budget", "0.01"], "PEL-EVAL-006"),
        (["--by-stratum", "stratum_specimen_typ"], "PEL-EVAL-001"),
    ],
)
def test_targets_that_mean_nothing_are_refused_at_once(words: list[str], code: str, desk: Desk, tmp_path: Path) -> None:
    done = desk.run("certify", desk.table, *desk.signing, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert code in done.stderr
    assert code != "PEL-EVAL-001" or "Did you mean 'specimen_type'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_certification_says_so_and_leaves_no_policy(desk: Desk, tmp_path: Path) -> None:
    command = desk.command("certify", desk.table, *desk.signing, "--json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, text=True, cwd=tmp_path, env=QUIET, **pipes)  # type: ignore[call-overload]
    log = tmp_path / "certification" / "run.jsonl"
    while not (log.exists() and "sizing" in log.read_text()):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=120)
    assert (child.returncode, out) == (130, ""), error
    assert not (tmp_path / "policy.json").exists()
    with open_records(tmp_path / "certification" / DATABASE_NAME) as records:
        assert records.certifications() == []


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("PEL-POLICY-010", {"model": "a" * 64}),
        ("PEL-POLICY-011", {"gates": "b" * 64}),
        ("PEL-POLICY-012", {"synthetic": False}),
    ],
)
def test_a_run_under_a_policy_of_something_else_is_refused_before_any_work(
    code: str, changes: dict[str, object], desk: Desk, fitting: Callable[..., SitePolicy], tmp_path: Path
) -> None:
    write_policy(tmp_path / "policy.json", fitting(**changes), desk.key, name="Dr Test")
    done = desk.run("run", desk.table, "--policy", "policy.json", *desk.trusting, cwd=tmp_path)
    assert done.returncode == 1
    assert code in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["policy.json"]


def test_a_run_under_an_edited_absent_or_foreign_policy_is_refused_before_any_work(
    desk: Desk, fitting: Callable[..., SitePolicy], tmp_path: Path
) -> None:
    file = tmp_path / "policy.json"
    write_policy(file, fitting(certificates=(certificate(negative=-1.5),)), desk.key, name="Dr Test")
    run = ["run", desk.table, "--policy", "policy.json"]
    assert "PEL-POLICY-005" in desk.run(*run, cwd=tmp_path).stderr
    file.write_text(file.read_text().replace("-1.5", "-0.5"))
    for verb in ("run", "evaluate", "worker"):
        words = [verb, *([] if verb == "worker" else [desk.table]), "--policy", "policy.json", *desk.trusting]
        done = desk.run(*words, cwd=tmp_path)
        assert (done.returncode, "PEL-POLICY-006" in done.stderr) == (1, True)
    file.unlink()
    assert "PEL-POLICY-001" in desk.run(*run, *desk.trusting, cwd=tmp_path).stderr
    assert list(tmp_path.iterdir()) == []


def test_an_expired_policy_runs_warns_and_decides_nothing(
    desk: Desk, fitting: Callable[..., SitePolicy], tmp_path: Path
) -> None:
    write_policy(tmp_path / "policy.json", fitting(expires_on="2026-01-01"), desk.key, name="Dr Test")
    words = ["run", desk.table, "--split", "test", "--policy", "policy.json", *desk.trusting, "--json"]
    done = desk.run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "expired on 2026-01-01" in done.stderr
    assert json.loads(done.stdout)["scored"] == 2
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        found = [one.decision for one in records.decisions()]
    assert len(found) == 2
    assert all("held until 2026-01-01" in " ".join(f.detail for f in one.findings) for one in found)
