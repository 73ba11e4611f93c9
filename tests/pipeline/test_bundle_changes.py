"""A bundle that changes on disk while a run uses it."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, SigningKey, load_bundle
from pellucid.bundle.errors import BundleAltered
from pellucid.domain.cohort import Cohort
from pellucid.domain.policy import SitePolicy
from pellucid.engine.messages import Role
from pellucid.engine.snapshot import EngineSnapshot
from pellucid.pipeline import RunSummary, run_cohort
from pellucid.records import DATABASE_NAME, RunState, TaskState, open_records

POLICY = SitePolicy(name="test")


@pytest.fixture
def own_bundle(pristine: Path, key: SigningKey, tmp_path: Path) -> Bundle:
    folder = Path(shutil.copytree(pristine, tmp_path / "bundle"))
    return load_bundle(folder, [key.trusted()])


def spoil(bundle: Bundle) -> None:
    """Change one byte of the encoder's weights."""
    [weights] = [path for path in bundle.folder.rglob("*.safetensors") if "encoder" in path.name]
    weights.chmod(0o644)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def test_a_process_that_must_load_an_altered_bundle_ends_the_run_and_nothing_is_failed(
    slide_of: Callable[[str], Path],
    make_entry: Callable[..., object],
    own_bundle: Bundle,
    watcher: object,
    tmp_path: Path,
) -> None:
    """What runs holds the verified bytes in memory; the successor of a killed device meets the altered file."""
    cohort = Cohort(entries=tuple(make_entry(slide_of(kind), kind) for kind in ("clear", "blurred")), name="few")  # type: ignore[arg-type,misc]
    killed: list[int] = []

    def strike(snapshot: EngineSnapshot) -> None:
        device = [one for one in snapshot.processes if one.role == Role.DEVICE]
        if device and not killed:
            spoil(own_bundle)
            os.kill(device[0].pid, signal.SIGKILL)
            killed.append(device[0].pid)

    watcher.on_snapshot = strike  # type: ignore[attr-defined]

    def wait(_waiting: int) -> None:
        """Keep the ledger busy, so that the scan can't end before the device does."""
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            time.sleep(0.1)

    watcher.on_queued = wait  # type: ignore[attr-defined]
    with pytest.raises(BundleAltered):
        run_cohort(cohort, own_bundle, tmp_path / "out", policy=POLICY, events=watcher)  # type: ignore[arg-type]
    assert killed
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        assert {task.state for task in records.tasks()} <= {TaskState.QUEUED}, "given back, not failed"
        assert [run.state for run in records.runs()] == [RunState.INTERRUPTED]
        assert records.verify_audit().ok


def test_the_same_scans_under_the_good_bundle_go_on(
    slide_of: Callable[[str], Path], make_entry: Callable[..., object], run_on: Callable[..., RunSummary]
) -> None:
    one = Cohort(entries=(make_entry(slide_of("clear"), "one"),), name="one")  # type: ignore[arg-type]
    assert run_on(one).scored == 1
