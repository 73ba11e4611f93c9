"""A run that stops, however it stops, goes on where it was; every scan ends in exactly one recorded state."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pellucid.bundle import Bundle, SigningKey
from pellucid.cohort import read_cohort, write_cohort
from pellucid.domain.cohort import Cohort
from pellucid.domain.policy import SitePolicy
from pellucid.pipeline import RunEvents, RunOptions, RunSummary, StopRequest, run_cohort
from pellucid.records import DATABASE_NAME, Records, RunState, TaskState, open_records

SECOND_SIGINT_CODE = 130


def answers(records: Records) -> dict[str, tuple[float, ...]]:
    return {result.scan: result.logits for result in records.scan_results()}


def predictions(records: Records) -> list[str]:
    """The object of every `predict` event: one for each finished scan."""
    return [event.content["object"]["id"] for event in records.audit_events() if event.content["action"] == "predict"]


@pytest.fixture(scope="module")
def few(cohort: Cohort, synthetic: Path) -> Path:
    """A table of a few scans, good ones and one that fails."""
    chosen = {entry.specimen: entry for entry in cohort.entries if entry.mpp is None}
    entries = (*list(chosen.values())[:5], list(chosen.values())[-1])
    table = synthetic / "few.csv"
    write_cohort(replace(cohort, entries=entries), table)
    return table


@pytest.fixture(scope="module")
def undisturbed(
    few: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, silent: RunEvents
) -> dict[str, tuple[float, ...]]:
    """The answers of a run that nothing disturbs."""
    out = tmp_path_factory.mktemp("calm")
    run_cohort(read_cohort(few), bundle, out, policy=SitePolicy(name="local"), events=silent)
    with open_records(out / DATABASE_NAME) as records:
        return answers(records)


def test_a_second_run_finds_everything_done(few: Path, run_on: Callable[..., RunSummary], tmp_path: Path) -> None:
    first, second = run_on(read_cohort(few)), run_on(read_cohort(few))
    assert first.scored > 0
    assert (second.scored, second.failed) == (0, 0)
    assert second.known == first.scored + first.failed
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        assert len(predictions(records)) == len(set(predictions(records)))
        assert all(one.version == 1 for one in records.decisions(latest_only=False))


def test_asked_to_stop_it_ends_after_the_scan_in_hand_and_goes_on_later(
    few: Path,
    bundle: Bundle,
    tmp_path: Path,
    watcher: object,
    undisturbed: dict[str, tuple[float, ...]],
) -> None:
    stop = StopRequest()

    def after(count: int) -> None:
        stop.asked = count >= 2

    watcher.on_end = after  # type: ignore[attr-defined]
    out, cohort = tmp_path / "out", read_cohort(few)
    options = RunOptions()
    policy = SitePolicy(name="local")
    first = run_cohort(cohort, bundle, out, policy=policy, events=watcher, options=options, stop=stop)  # type: ignore[arg-type]
    assert not first.completed
    assert first.scored + first.failed >= 2
    assert first.left == len(cohort.entries) - first.scored - first.failed
    second = run_cohort(cohort, bundle, out, policy=policy, events=watcher, options=options)  # type: ignore[arg-type]
    assert second.completed
    with open_records(out / DATABASE_NAME) as records:
        assert answers(records) == undisturbed
        assert [run.state for run in records.runs()] == [RunState.INTERRUPTED, RunState.COMPLETED]
        assert records.verify_audit().ok


def test_failed_scans_are_tried_again_only_when_asked(
    make_entry: Callable[..., object], slide_of: Callable[[str], Path], run_on: Callable[..., RunSummary]
) -> None:
    broken = Cohort(entries=(make_entry(slide_of("scale_missing"), "broken"),), name="broken")  # type: ignore[arg-type]
    assert run_on(broken).failed == 1
    assert run_on(broken).known == 1
    assert run_on(broken, retry_failed=True).failed == 1


def test_a_missing_file_is_looked_for_again_by_each_run(
    make_entry: Callable[..., object],
    slide_of: Callable[[str], Path],
    copy_of: Callable[[Path, str], Path],
    run_on: Callable[..., RunSummary],
    tmp_path: Path,
) -> None:
    late = Cohort(entries=(make_entry(tmp_path / "late.svs", "late"),), name="late")  # type: ignore[arg-type]
    assert run_on(late).failed == 1
    assert run_on(late).failed == 1
    copy_of(slide_of("clear"), "late.svs")
    assert run_on(late).scored == 1
    with open_records(tmp_path / "out" / DATABASE_NAME) as records:
        latest = records.decision("specimen late")
    assert latest is not None
    assert latest.decision.posterior is not None


def test_an_override_is_another_key(
    make_entry: Callable[..., object], slide_of: Callable[[str], Path], run_on: Callable[..., RunSummary]
) -> None:
    slide = slide_of("scale_missing")
    without = Cohort(entries=(make_entry(slide, "scaled"),), name="without")  # type: ignore[arg-type]
    stated = Cohort(entries=(make_entry(slide, "scaled", mpp=0.5),), name="stated")  # type: ignore[arg-type]
    assert run_on(without).failed == 1
    assert run_on(stated).scored == 1


def start_run(few: Path, pristine: Path, key: SigningKey, out: Path, *words: str) -> subprocess.Popen[str]:
    public = out.parent / "key.pem"
    if not public.exists():
        key.save(public)
    command = [sys.executable, "-m", "pellucid", "run", str(few), "--bundle", str(pristine)]
    return subprocess.Popen(
        [*command, "--trust", f"{public}.pub", "--out", str(out), "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_first_scan(process: subprocess.Popen[str], out: Path) -> None:
    """Until the log tells of a finished scan; the pipe is read so that the run never waits for us."""
    import time

    log = out / "run.jsonl"
    while process.poll() is None:
        if log.exists() and '"scan scored"' in log.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupt once", "interrupt twice", "terminate", "kill"])
def test_a_real_process_that_is_stopped_loses_nothing_and_does_nothing_twice(
    how: str,
    few: Path,
    pristine: Path,
    key: SigningKey,
    tmp_path: Path,
    undisturbed: dict[str, tuple[float, ...]],
) -> None:
    out = tmp_path / "out"
    process = start_run(few, pristine, key, out)
    wait_for_first_scan(process, out)
    if how == "kill":
        process.send_signal(signal.SIGKILL)
    elif how == "terminate":
        process.send_signal(signal.SIGTERM)
    else:
        process.send_signal(signal.SIGINT)
        if how == "interrupt twice":
            assert process.stderr is not None
            while "nothing is lost" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == (-signal.SIGKILL if how == "kill" else SECOND_SIGINT_CODE)
    if how in {"interrupt once", "terminate"}:
        assert "nothing is lost" in said
    with open_records(out / DATABASE_NAME) as records:
        leased = [task for task in records.tasks() if task.state is TaskState.LEASED]
        assert how == "kill" or not leased, "what was in hand was not given back"
        before = predictions(records)
    again = start_run(few, pristine, key, out)
    printed, said = again.communicate()
    assert again.returncode == 0, said
    assert json.loads(printed)["known"] >= 1
    with open_records(out / DATABASE_NAME) as records:
        after = predictions(records)
        assert after[: len(before)] == before
        assert len(after) == len(set(after))
        assert answers(records) == undisturbed
        assert all(task.state in {TaskState.DONE, TaskState.FAILED} for task in records.tasks())
        assert records.verify_audit().ok


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB; `mount -o remount,size=...` makes it larger."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system of a known size needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_pauses_the_run_which_goes_on_by_itself(
    few: Path, pristine: Path, key: SigningKey, small_disk: Path, undisturbed: dict[str, tuple[float, ...]]
) -> None:
    full = start_run(few, pristine, key, small_disk / "out")
    assert full.stderr is not None
    while "Paused, nothing is lost" not in full.stderr.readline():
        assert full.poll() is None
    subprocess.run(["mount", "-o", "remount,size=600m", str(small_disk)], check=True)
    _, said = full.communicate(timeout=120)
    assert full.returncode == 0, said
    with open_records(small_disk / "out" / DATABASE_NAME) as records:
        assert answers(records) == undisturbed
        assert records.verify_audit().ok


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_the_run_when_its_patience_does_and_it_resumes(
    few: Path, pristine: Path, key: SigningKey, small_disk: Path, undisturbed: dict[str, tuple[float, ...]]
) -> None:
    full = start_run(few, pristine, key, small_disk / "out", "--patience", "2")
    _, said = full.communicate(timeout=120)
    assert full.returncode == 1
    assert "PEL-CORE-001" in said
    assert "same command" in said
    subprocess.run(["mount", "-o", "remount,size=600m", str(small_disk)], check=True)
    again = start_run(few, pristine, key, small_disk / "out")
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    with open_records(small_disk / "out" / DATABASE_NAME) as records:
        assert answers(records) == undisturbed
        assert records.verify_audit().ok
