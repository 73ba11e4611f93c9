"""Every kind of bad input is a coded error on its scan, and the run goes on."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.domain.cohort import Cohort
from pellucid.domain.reasons import Reason
from pellucid.pipeline import RunSummary
from pellucid.records import DATABASE_NAME, RunState, TaskState, open_records


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def spoiled(tmp_path: Path, good: Path) -> dict[str, Path]:
    """Files that can't be slides, by what is wrong with them."""
    whole = good.read_bytes()
    folder = tmp_path / "folder.svs"
    folder.mkdir()
    return {
        "missing": tmp_path / "missing.svs",
        "empty": write(tmp_path / "empty.svs", b""),
        "cut": write(tmp_path / "cut.svs", whole[: len(whole) // 3]),
        "noise": write(tmp_path / "noise.svs", random.Random(0).randbytes(200_000)),
        "text": write(tmp_path / "text.svs", b"This is not a slide.\n" * 500),
        "folder": folder,
    }


@pytest.fixture
def finished(
    slide_of: Callable[[str], Path],
    make_entry: Callable[..., object],
    run_on: Callable[..., RunSummary],
    tmp_path: Path,
) -> tuple[RunSummary, Path]:
    """A run over one good slide, all planted kinds and all spoiled files."""
    good = slide_of("clear")
    paths = {"good": good, **spoiled(tmp_path, good)}
    paths |= {
        kind: slide_of(kind)
        for kind in ("mis_scaled", "scale_missing", "corrupt_tile", "corrupt_tiles", "truncated", "nearly_empty")
    }
    entries = tuple(make_entry(path, name) for name, path in paths.items())
    summary = run_on(Cohort(entries=entries, name="bad", synthetic=True))  # type: ignore[arg-type]
    return summary, tmp_path / "out"


EXPECTED_CODES = {
    "missing": "FileMissing",
    "empty": "FileEmpty",
    "mis_scaled": "ScaleContradicted",
    "scale_missing": "ScaleMissing",
}


def test_each_bad_file_fails_with_its_code_and_the_rest_is_scored(finished: tuple[RunSummary, Path]) -> None:
    from pellucid.slides import errors

    summary, out = finished
    assert summary.completed
    assert summary.left == 0
    with open_records(out / DATABASE_NAME) as records:
        tasks = {task.specimen.removeprefix("specimen "): task for task in records.tasks()}
        results = {result.specimen.removeprefix("specimen "): result for result in records.scan_results()}
        assert all(task.state in {TaskState.DONE, TaskState.FAILED} for task in tasks.values())
        for name in ("missing", "empty", "cut", "noise", "text", "folder", "truncated", "mis_scaled", "scale_missing"):
            assert tasks[name].state is TaskState.FAILED, name
            assert (tasks[name].error_code or "").startswith("PEL-SLIDE-"), name
        for name, error in EXPECTED_CODES.items():
            assert tasks[name].error_code == getattr(errors, error).code
        assert results["good"].posterior is not None
        assert results["good"].n_unreadable == 0
        assert results["corrupt_tile"].posterior is not None
        assert results["corrupt_tile"].n_unreadable >= 1
        assert results["corrupt_tiles"].n_unreadable > results["corrupt_tile"].n_unreadable
        assert records.verify_audit().ok
        assert records.runs()[-1].state is RunState.COMPLETED


def test_every_specimen_is_undetermined_with_the_reasons_that_apply(finished: tuple[RunSummary, Path]) -> None:
    _, out = finished
    with open_records(out / DATABASE_NAME) as records:
        reasons = {
            recorded.decision.specimen.removeprefix("specimen "): set(recorded.decision.reasons)
            for recorded in records.decisions()
        }
    assert len(reasons) == 13
    assert all(Reason.NO_CERTIFICATE in found for found in reasons.values())
    assert Reason.PROCESSING_FAILED in reasons["missing"]
    assert Reason.PROCESSING_FAILED not in reasons["good"]
    assert Reason.UNREADABLE_TILES in reasons["corrupt_tiles"]
    assert Reason.TOO_LITTLE_TISSUE in reasons["nearly_empty"]


def test_messages_and_logs_do_not_name_files(finished: tuple[RunSummary, Path]) -> None:
    _, out = finished
    with open_records(out / DATABASE_NAME) as records:
        said = " ".join(task.error_message or "" for task in records.tasks())
        said += " ".join(finding.detail for one in records.decisions() for finding in one.decision.findings)
        said += b" ".join(event.payload for event in records.audit_events()).decode()
    said += (out / "run.jsonl").read_text()
    for name in ("missing.svs", "empty.svs", "text.svs", "noise.svs", str(out.parent)):
        assert name not in said


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv drops root's right to read everything")
def test_a_file_without_permission_is_a_coded_error(slide_of: Callable[[str], Path], tmp_path: Path) -> None:
    import subprocess
    import sys

    secret = Path(shutil.copyfile(slide_of("clear"), tmp_path / "secret.svs"))
    secret.chmod(0)
    code = "\n".join(
        (
            "from pathlib import Path",
            "from pellucid.core.errors import PellucidError",
            "from pellucid.slides import identify",
            f"try: identify(Path({str(secret)!r}))",
            "except PellucidError as error: print(error.code)",
        )
    )
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"] if os.getuid() == 0 else []
    done = subprocess.run([*drop, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("PEL-SLIDE-")


def test_a_tile_that_overflows_half_precision_is_a_coded_error(
    slide_of: Callable[[str], Path], overflowing: object
) -> None:
    from pellucid.encoders.errors import NonFiniteFeatures
    from pellucid.pipeline import score

    with pytest.raises(NonFiniteFeatures):
        score(slide_of("clear"), overflowing)  # type: ignore[arg-type]


def test_one_digest_under_two_cases_holds_both(
    slide_of: Callable[[str], Path],
    make_entry: Callable[..., object],
    copy_of: Callable[[Path, str], Path],
    run_on: Callable[..., RunSummary],
    tmp_path: Path,
) -> None:
    good = slide_of("clear")
    entries = (make_entry(good, "one"), make_entry(copy_of(good, "copy.svs"), "two"))
    summary = run_on(Cohort(entries=entries, name="conflict"))  # type: ignore[arg-type]
    assert summary.scored + summary.failed == 1, "one scan is one task, done before or after the conflict was seen"
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        decisions = [recorded.decision for recorded in records.decisions()]
    assert len(decisions) == 2
    for decision in decisions:
        assert Reason.IDENTITY_CONFLICT in decision.reasons
        assert decision.posterior is None


def test_a_scan_that_later_turns_up_under_another_case_is_withdrawn_from_the_first(
    slide_of: Callable[[str], Path],
    make_entry: Callable[..., object],
    run_on: Callable[..., RunSummary],
    tmp_path: Path,
) -> None:
    good = slide_of("clear")
    run_on(Cohort(entries=(make_entry(good, "one"),), name="first"))  # type: ignore[arg-type]
    run_on(Cohort(entries=(make_entry(good, "two"),), name="second"))  # type: ignore[arg-type]
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        history = [one for one in records.decisions(latest_only=False) if one.decision.specimen == "specimen one"]
    assert [one.version for one in history] == [1, 2]
    assert history[0].decision.posterior is not None
    assert history[1].decision.posterior is None
    assert Reason.IDENTITY_CONFLICT in history[1].decision.reasons
