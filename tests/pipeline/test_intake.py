"""Intake: files become tasks, specimen by specimen, and a file is hashed once."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError
from pellucid.domain.cohort import Cohort, ScanEntry
from pellucid.domain.decision import Versions
from pellucid.domain.observation import Observation
from pellucid.pipeline.errors import IdentityConflict
from pellucid.pipeline.filing import Entered, Filing, KeyParts
from pellucid.pipeline.intake import Intake, identify_cached
from pellucid.records import ClaimedTask, Records, TaskState, open_records
from pellucid.slides import FileMissing
from pellucid.slides.fingerprint import FileChanged, fingerprint
from pellucid.slides.identity import identify_marked

PARTS = KeyParts(model="m" * 64, purpose="run")
VERSIONS = Versions(model="m" * 64, policy="p" * 64, software="s" * 64, software_version="0")


@dataclass
class Desk:
    """Does by hand what the engine does: hashes what an intake asks for, claims and ends tasks."""

    records: Records
    folder: Path

    def filing(self, **options: object) -> Filing:
        run_id = f"run-{len(self.records.runs())}"
        self.records.start_run(run_id=run_id, purpose="run", versions=VERSIONS, settings={}, command="")
        return Filing(records=self.records, run_id=run_id, parts=PARTS, **options)  # type: ignore[arg-type]

    def file(self, name: str, data: str | None = None) -> Path:
        path = self.folder / name
        path.write_text(data or f"the bytes of {name}")
        return path

    def hash_all(self, intake: Intake) -> list[str]:
        """The names of the files that had to be hashed."""
        hashed = []
        while (path := intake.to_identify()) is not None:
            hashed.append(path.name)
            self.answer(intake, path)
        return hashed

    def answer(self, intake: Intake, path: Path) -> None:
        try:
            intake.identified(path, *identify_marked(path))
        except PellucidError as error:
            intake.unreadable(path, error)

    def take_in(self, *entries: ScanEntry, **options: object) -> dict[str, Entered]:
        """A whole intake; what was entered, by specimen."""
        intake = Intake.of(Cohort(entries=entries, name="table"), self.filing(**options))
        self.hash_all(intake)
        entered = intake.entered()
        assert intake.finished
        return {one.specimen: one for one in entered}

    def claim(self) -> ClaimedTask:
        task = self.records.claim("here:1:1")
        assert task is not None
        return task

    def finish(self) -> None:
        """End the next task without an answer."""
        task = self.claim()
        observation = Observation(
            scan=task.scan_digest or task.key,
            specimen=task.specimen,
            run=task.run or "",
            at=utc_now(),
            purpose="run",
            scanner=None,
            strata={},
            mpp=None,
            mpp_source=None,
            n_tiles=0,
            features={},
            embedding=(),
            distance=None,
            mean_logit=None,
            sd_logit=None,
            probability=None,
            mutual_information=None,
            reasons=(),
            error=None,
            timings={},
            model="m",
            policy="p",
            software="s",
        )
        self.records.complete(task, observation=observation)

    def states(self) -> dict[str, list[TaskState]]:
        found: dict[str, list[TaskState]] = {}
        for task in self.records.tasks():
            found.setdefault(Path(task.payload["path"]).name, []).append(task.state)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "scans"
    folder.mkdir()
    with open_records(tmp_path / "records.sqlite") as records:
        yield Desk(records, folder)


Make = Callable[..., ScanEntry]


def test_a_specimen_is_entered_when_its_last_file_is_hashed(desk: Desk, make_entry: Make) -> None:
    one = [make_entry(desk.file(name), "one") for name in ("a.svs", "b.svs")]
    two = make_entry(desk.file("c.svs"), "two")
    intake = Intake.of(Cohort(entries=(one[0], two, one[1]), name="table"), desk.filing())
    paths = [intake.to_identify() for _ in range(3)]
    assert [path and path.name for path in paths] == ["a.svs", "c.svs", "b.svs"]
    assert intake.to_identify() is None
    assert (intake.n_files, intake.n_hashed, intake.n_waiting) == (3, 0, 0)
    for path, expected in zip(paths, ([], ["specimen two"], ["specimen one"]), strict=True):
        assert path is not None
        assert not intake.finished
        desk.answer(intake, path)
        assert [entered.specimen for entered in intake.entered()] == expected
    assert intake.finished
    assert intake.n_hashed == 3
    assert len(desk.records.specimen("specimen one").expected) == 2
    assert desk.states() == {name: [TaskState.QUEUED] for name in ("a.svs", "b.svs", "c.svs")}


def test_a_task_carries_the_fingerprint_of_its_file_and_the_priority(desk: Desk, make_entry: Make) -> None:
    path = desk.file("a.svs")
    entered = desk.take_in(make_entry(path, "one", mpp=0.25), priority=7)["specimen one"]
    (task,) = desk.records.tasks()
    assert task.payload == {"path": str(path), "mpp": 0.25, "fingerprint": fingerprint(path)}
    assert (task.priority, (task.key,)) == (7, entered.keys)
    assert entered.queue.new == entered.keys


def test_the_key_depends_on_bytes_and_scale_and_not_on_the_file(desk: Desk, make_entry: Make) -> None:
    first = desk.take_in(make_entry(desk.file("a.svs", "same"), "one"))["specimen one"].keys
    os.utime(desk.folder / "a.svs", ns=(1, 1))
    assert desk.take_in(make_entry(desk.folder / "a.svs", "one"))["specimen one"].keys == first
    assert desk.take_in(make_entry(desk.file("b.svs", "same"), "one"))["specimen one"].keys == first
    assert desk.take_in(make_entry(desk.folder / "b.svs", "one", mpp=0.5))["specimen one"].keys != first


def test_a_resumed_intake_hashes_nothing_that_was_left_alone(desk: Desk, make_entry: Make) -> None:
    cohort = Cohort(entries=tuple(make_entry(desk.file(f"{n}.svs"), str(n)) for n in range(3)), name="table")
    assert len(desk.hash_all(Intake.of(cohort, desk.filing()))) == 3
    desk.finish()
    desk.file("1.svs", "other bytes")
    intake = Intake.of(cohort, desk.filing())
    assert desk.hash_all(intake) == ["1.svs"]
    entered = {one.specimen: one.queue for one in intake.entered()}
    assert [len(entered[f"specimen {n}"].known_done) for n in range(3)] == [1, 0, 0]
    assert len(entered["specimen 1"].new) == 1
    assert len(entered["specimen 2"].waiting) == 1


def test_an_identity_is_known_only_for_the_very_same_files(desk: Desk, make_entry: Make) -> None:
    path = desk.file("a.svs")
    desk.take_in(make_entry(path, "one"))
    known = identify_cached(desk.records, path)
    assert known == identify_marked(path)
    copy = desk.file("b.svs", path.read_text())
    assert identify_cached(desk.records, copy) is None
    desk.file("a.svs", "changed")
    assert identify_cached(desk.records, path) is None
    path.unlink()
    assert identify_cached(desk.records, path) is None


def test_a_file_under_two_specimens_is_hashed_once_and_holds_both(desk: Desk, make_entry: Make) -> None:
    path = desk.file("a.svs")
    entries = (make_entry(path, "one"), make_entry(path, "two"))
    intake = Intake.of(Cohort(entries=entries, name="table"), desk.filing())
    assert desk.hash_all(intake) == ["a.svs"]
    first, second = intake.entered()
    assert first.touched == frozenset()
    assert second.touched == {"specimen one"}
    assert first.keys == second.keys
    assert len(desk.records.identity_conflicts()) == 1


def test_a_conflict_found_after_the_first_specimen_was_entered_touches_it(desk: Desk, make_entry: Make) -> None:
    one, two = make_entry(desk.file("a.svs", "same"), "one"), make_entry(desk.file("b.svs", "same"), "two")
    assert desk.take_in(one)["specimen one"].touched == frozenset()
    desk.finish()
    assert desk.take_in(two)["specimen two"].touched == {"specimen one"}


def test_a_corrected_table_ends_a_conflict_and_queues_again_what_failed_for_it(desk: Desk, make_entry: Make) -> None:
    one, two = make_entry(desk.file("a.svs", "same"), "one"), make_entry(desk.file("b.svs", "same"), "two")
    desk.take_in(one, two)
    desk.records.fail(desk.claim(), code=IdentityConflict.code, message="held")
    corrected = desk.take_in(make_entry(desk.file("c.svs"), "two"))["specimen two"]
    assert corrected.touched == {"specimen one"}
    assert len(corrected.again) == 1
    assert desk.records.identity_conflicts() == []
    assert sorted(task.state for task in desk.records.tasks()) == [TaskState.QUEUED, TaskState.QUEUED]


def test_what_a_run_left_that_died_while_it_ended_a_conflict_is_queued_by_the_next(
    desk: Desk, make_entry: Make
) -> None:
    one, two = make_entry(desk.file("a.svs", "same"), "one"), make_entry(desk.file("b.svs", "same"), "two")
    desk.take_in(one, two)
    task = desk.claim()
    desk.records.fail(task, code=IdentityConflict.code, message="held")
    desk.records.withdraw_scan(task.scan_digest or "", "specimen two", actor="run:dead")
    desk.take_in(make_entry(desk.file("d.svs"), "other"))
    assert desk.records.tasks(keys=[task.key])[0].state is TaskState.QUEUED


def test_a_missing_file_is_a_task_with_its_error_and_looked_at_again(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.folder / "late.svs", "one")
    entered = desk.take_in(entry)["specimen one"]
    (key,) = entered.keys
    assert isinstance(entered.errors[key], FileMissing)
    desk.records.fail(desk.claim(), code=FileMissing.code, message="gone")
    again = desk.take_in(entry)["specimen one"]
    assert again.again == {key}
    desk.file("late.svs")
    there = desk.take_in(entry)["specimen one"]
    assert there.errors == {}
    assert desk.records.specimen("specimen one").expected == there.keys != (key,)


def test_what_failed_stays_failed_unless_asked_to_retry(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.file("a.svs"), "one")
    desk.take_in(entry)
    desk.records.fail(desk.claim(), code="PEL-SLIDE-006", message="damaged")
    assert desk.take_in(entry)["specimen one"].again == frozenset()
    assert desk.states() == {"a.svs": [TaskState.FAILED]}
    assert len(desk.take_in(entry, retry_failed=True)["specimen one"].again) == 1
    assert desk.states() == {"a.svs": [TaskState.QUEUED]}


def test_what_failed_because_its_file_changed_meanwhile_is_tried_again(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.file("a.svs"), "one")
    desk.take_in(entry)
    desk.records.fail(desk.claim(), code=FileChanged.code, message="changed")
    os.utime(desk.folder / "a.svs")
    assert len(desk.take_in(entry)["specimen one"].again) == 1
    (task,) = desk.records.tasks()
    assert (task.state, task.payload["fingerprint"]) == (TaskState.QUEUED, fingerprint(desk.folder / "a.svs"))


def test_rows_that_name_copies_of_one_scan_are_one_task_and_a_complete_specimen(desk: Desk, make_entry: Make) -> None:
    entries = [make_entry(desk.file(name, "same"), "one") for name in ("a.svs", "b.svs")]
    assert len(desk.take_in(*entries)["specimen one"].keys) == 1
    assert desk.records.waiting_specimens() == []


def test_an_open_intake_enters_what_arrived_and_expects_the_rest(desk: Desk, make_entry: Make) -> None:
    here, later = make_entry(desk.file("a.svs"), "one"), make_entry(desk.folder / "b.svs", "one")
    intake = Intake(desk.filing(open_ended=True, wait_s=3600))
    intake.expect([here, later])
    assert intake.to_identify() is None
    assert [entered.keys for entered in intake.entered()] == [()]
    assert desk.records.specimen("specimen one").n_expected == 2
    intake.arrived([here.path])
    assert desk.hash_all(intake) == ["a.svs"]
    assert [len(entered.keys) for entered in intake.entered()] == [1]
    assert [filed.specimen for filed in desk.records.waiting_specimens()] == ["specimen one"]
    desk.file("b.svs")
    intake.arrived([later.path])
    assert desk.hash_all(intake) == ["b.svs"]
    assert [len(entered.keys) for entered in intake.entered()] == [2]
    assert desk.records.waiting_specimens() == []
    assert not intake.finished
    intake.close()
    assert intake.finished


def test_a_file_that_goes_away_or_changes_before_it_is_hashed_is_waited_for_again(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.file("a.svs"), "one")
    intake = Intake(desk.filing(open_ended=True))
    intake.expect([entry])
    for error in (FileMissing("gone"), FileChanged("changed")):
        intake.arrived([entry.path])
        assert intake.to_identify() == entry.path
        intake.unreadable(entry.path, error)
    assert intake.to_identify() is None
    assert desk.records.tasks() == []
    intake.arrived([entry.path])
    assert desk.hash_all(intake) == ["a.svs"]
    assert desk.states() == {"a.svs": [TaskState.QUEUED]}


def test_a_file_that_is_replaced_while_it_is_hashed_is_hashed_again(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.file("a.svs"), "one")
    intake = Intake(desk.filing(open_ended=True))
    intake.expect([entry])
    intake.arrived([entry.path])
    assert intake.to_identify() == entry.path
    old = identify_marked(entry.path)
    desk.file("a.svs", "replaced")
    intake.arrived([entry.path])
    intake.identified(entry.path, *old)
    assert intake.entered() == (), "a file of it is in hand again"
    assert desk.hash_all(intake) == ["a.svs"]
    (task,) = desk.records.tasks()
    assert task.scan_digest == identify_marked(entry.path)[0].digest


def test_a_replaced_file_takes_the_place_of_the_one_before(desk: Desk, make_entry: Make) -> None:
    entry = make_entry(desk.file("a.svs"), "one")
    intake = Intake(desk.filing(open_ended=True))
    intake.expect([entry])
    intake.arrived([entry.path])
    desk.hash_all(intake)
    desk.file("a.svs", "replaced")
    intake.arrived([entry.path])
    desk.hash_all(intake)
    first, second = intake.entered()
    assert desk.records.specimen("specimen one").expected == second.keys != first.keys
    assert [scan.digest for scan in desk.records.scans()] == [identify_marked(entry.path)[0].digest]


def test_what_was_done_and_moved_away_stays_with_its_specimen_when_the_watch_starts_again(
    desk: Desk, make_entry: Make
) -> None:
    rows = [make_entry(desk.file("a.svs"), "one"), make_entry(desk.folder / "b.svs", "one")]
    first = Intake(desk.filing(open_ended=True, wait_s=3600))
    first.expect(rows)
    first.arrived([rows[0].path])
    desk.hash_all(first)
    desk.finish()
    before = desk.records.specimen("specimen one").expected
    (desk.folder / "a.svs").unlink()
    again = Intake(desk.filing(open_ended=True, wait_s=3600))
    again.expect([replace(row, path=Path("/as/the/table/says") / row.path.name) for row in rows])
    assert again.to_identify() is None
    assert desk.records.specimen("specimen one").expected == before
    assert [Path(scan.path).name for scan in desk.records.scans()] == ["a.svs"]
    desk.file("b.svs")
    again.expect([replace(rows[0], path=Path("/as/the/table/says/a.svs")), rows[1]])
    again.arrived([rows[1].path])
    assert desk.hash_all(again) == ["b.svs"]
    assert len(desk.records.specimen("specimen one").expected) == 2
    assert desk.records.waiting_specimens() == []


def test_a_row_that_a_changed_table_drops_is_withdrawn(desk: Desk, make_entry: Make) -> None:
    rows = [make_entry(desk.file(name), "one") for name in ("a.svs", "b.svs")]
    intake = Intake(desk.filing(open_ended=True))
    intake.expect(rows)
    intake.arrived(row.path for row in rows)
    desk.hash_all(intake)
    intake.expect(rows[:1])
    assert intake.to_identify() is None
    assert len(intake.entered()[-1].keys) == 1
    assert [Path(scan.path).name for scan in desk.records.scans()] == ["a.svs"]


def test_an_intake_of_many_known_files_lets_go_in_between(
    desk: Desk, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.pipeline import intake as module

    cohort = Cohort(entries=tuple(make_entry(desk.file(f"{n}.svs"), str(n)) for n in range(8)), name="table")
    desk.hash_all(Intake.of(cohort, desk.filing()))
    monkeypatch.setattr(module, "_STEP_S", 0.0005)
    intake = Intake.of(cohort, desk.filing())
    assert intake.to_identify() is None
    assert intake.n_waiting > 0
    while not intake.finished:
        assert intake.to_identify() is None
        intake.entered()
    assert intake.n_hashed == 8
