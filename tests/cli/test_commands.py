"""Commands as a user types them, without a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pellucid.cohort import read_cohort
from pellucid.core.settings import load_settings


def pellucid(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pellucid", *map(str, words)], capture_output=True, text=True)


def test_init_writes_a_table_and_settings_that_can_be_read(tmp_path: Path) -> None:
    assert pellucid("init", tmp_path / "mine").returncode == 0
    load_settings(tmp_path / "mine" / "pellucid.toml", environ={})
    cohort = read_cohort(tmp_path / "mine" / "cases.csv")
    assert cohort.entries


def test_init_never_overwrites(tmp_path: Path) -> None:
    pellucid("init", tmp_path)
    (tmp_path / "cases.csv").write_text("mine")
    again = pellucid("init", tmp_path)
    assert again.returncode == 1
    assert "PEL-CORE" in again.stderr
    assert (tmp_path / "cases.csv").read_text() == "mine"


def test_doctor_tells_what_is_there_and_what_is_missing() -> None:
    done = pellucid("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["Python"]["ok"]
    assert checks["OpenSlide"]["ok"]
    assert done.returncode == 0
    assert all(check["remedy"] for check in checks.values() if not check["ok"])


def test_a_run_without_a_trusted_bundle_is_refused_before_any_work(tmp_path: Path, pristine: Path) -> None:
    done = pellucid("run", tmp_path / "x.svs", "--bundle", pristine, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "PEL-BUNDLE-006" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_under_an_altered_bundle_is_refused(tmp_path: Path, pristine: Path, key: object) -> None:
    import shutil

    bundle = Path(shutil.copytree(pristine, tmp_path / "bundle"))
    weights = bytearray((bundle / "head.safetensors").read_bytes())
    weights[-1] ^= 1
    (bundle / "head.safetensors").write_bytes(weights)
    public = key.save(tmp_path / "key.pem")  # type: ignore[attr-defined]
    done = pellucid("run", tmp_path / "x.svs", "--bundle", bundle, "--trust", public, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "PEL-BUNDLE-004" in done.stderr


def test_an_error_has_code_sentence_and_remedy_and_no_traceback() -> None:
    done = pellucid("explain", "nobody", "--out", "nowhere")
    assert done.returncode == 1
    assert "PEL-RECORD-001" in done.stderr
    assert "->" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["run"], ["slide", "info"], ["nonsense"], ["run", "--nonsense"]])
def test_wrong_usage_ends_with_two(words: list[str]) -> None:
    assert pellucid(*words).returncode == 2


def test_an_unwritable_output_folder_is_named(tmp_path: Path, pristine: Path, key: object) -> None:
    public = key.save(tmp_path / "key.pem")  # type: ignore[attr-defined]
    (tmp_path / "file").write_text("in the way")
    done = pellucid(
        "run", tmp_path / "x.svs", "--bundle", pristine, "--trust", public, "--out", tmp_path / "file" / "out"
    )
    assert done.returncode == 1
    assert "PEL-RUN-006" in done.stderr
