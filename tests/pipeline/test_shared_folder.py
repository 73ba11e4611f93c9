"""Several runs on one output folder: other policies, corrected tables, work taken over, folders in the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pellucid.bundle import Bundle
from pellucid.core.digests import digest_file
from pellucid.core.files import write_text
from pellucid.domain.cohort import Cohort
from pellucid.domain.policy import SitePolicy
from pellucid.domain.reasons import Reason
from pellucid.pipeline import RunOptions, RunSummary, StopRequest, explain_specimen, run_cohort
from pellucid.pipeline.decisions import decide_specimen, terms_of
from pellucid.pipeline.errors import (
    IdentityConflict,
    OutputUnusable,
    TaskSuperseded,
    UnexpectedFailure,
)
from pellucid.records import (
    DATABASE_NAME,
    LeaseLost,
    Records,
    RunState,
    TaskState,
    ValueUnrecordable,
    open_records,
)
from pellucid.reports.collect import Collection
from pellucid.reports.publish import publish
from pellucid.slides.identity import FileUnhashable

Run = Callable[..., RunSummary]
MakeEntry = Callable[..., object]


def cohort_of(*entries: object) -> Cohort:
    return Cohort(entries=entries, name="shared")  # type: ignore[arg-type]


@pytest.fixture
def run_under(bundle: Bundle, tmp_path: Path, watcher: object) -> Run:
    """Run into `tmp_path/out` under the policy of a site, for a purpose; another purpose is another lane."""

    def run(site: str, *entries: object, purpose: str = "run", stop_when_queued: bool = False) -> RunSummary:
        stop = StopRequest()

        def halt(waiting: int) -> None:
            stop.asked = stop.now = stop_when_queued and waiting == len(entries)

        watcher.on_queued = halt  # type: ignore[attr-defined]
        return run_cohort(
            cohort_of(*entries),
            bundle,
            tmp_path / "out",
            policy=SitePolicy(name=site),
            events=watcher,  # type: ignore[arg-type]
            options=RunOptions(purpose=purpose),
            stop=stop,
        )

    return run


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], Records]:
    return lambda: open_records(tmp_path / "out" / DATABASE_NAME)


def test_a_corrected_table_ends_an_identity_conflict(
    slide_of: Callable[[str], Path],
    copy_of: Callable[[Path, str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    opened: Callable[[], Records],
) -> None:
    good = slide_of("clear")
    one, wrong = make_entry(good, "one"), make_entry(copy_of(good, "copy.svs"), "two")
    run_on(cohort_of(one, wrong))
    run_on(cohort_of(one, make_entry(slide_of("blurred"), "two")))
    with opened() as records:
        assert records.identity_conflicts() == []
        for name in ("specimen one", "specimen two"):
            recorded = records.decision(name)
            assert recorded is not None
            assert Reason.IDENTITY_CONFLICT not in recorded.decision.reasons
            assert recorded.decision.posterior is not None
        assert records.verify_audit().ok


def test_a_conflict_found_under_another_policy_holds_the_first_specimen_under_the_one_in_force(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_under: Run, opened: Callable[[], Records]
) -> None:
    good = slide_of("clear")
    run_under("north", make_entry(good, "one"))
    run_under("south", make_entry(good, "two"))
    with opened() as records:
        history = [one for one in records.decisions(latest_only=False) if one.decision.specimen == "specimen one"]
        assert [Reason.IDENTITY_CONFLICT in one.decision.reasons for one in history] == [False, True]
        policies = [SitePolicy(name=site).digest for site in ("north", "south")]
        assert [one.decision.versions.policy for one in history] == policies
        assert explain_specimen(records, "specimen one").policy.name == "south"
        run_under("south", make_entry(slide_of("blurred"), "two"))
        latest = records.decision("specimen one")
        assert latest is not None
        assert latest.decision.posterior == history[0].decision.posterior


def test_a_specimen_that_another_run_took_over_is_not_decided_from_its_answers(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_under: Run, opened: Callable[[], Records]
) -> None:
    entry = make_entry(slide_of("clear"), "one")
    run_under("north", entry)
    run_under("south", entry, purpose="trial")
    with opened() as records:
        first, second = records.runs()
        count = len(records.decisions(latest_only=False))
        assert decide_specimen(records, "specimen one", terms_of(first), run_id=first.run_id) is None
        assert decide_specimen(records, "specimen one", terms_of(second), run_id=second.run_id) is None
        assert len(records.decisions(latest_only=False)) == count == 2


def test_one_answer_never_overwrites_the_pictures_of_another(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_on: Run, opened: Callable[[], Records], tmp_path: Path
) -> None:
    slide = slide_of("clear")
    run_on(cohort_of(make_entry(slide, "one")))
    run_on(cohort_of(make_entry(slide, "one", mpp=0.51)))
    with opened() as records:
        results = records.scan_results()
    assert len(results) == 2
    for result in results:
        for path, digest in result.artefacts.items():
            assert digest_file(tmp_path / "out" / path) == digest


def test_a_page_of_an_interrupted_run_says_which_scan_waits(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_under: Run,
    opened: Callable[[], Records],
    tmp_path: Path,
) -> None:
    entry = make_entry(slide_of("clear"), "one")
    run_under("north", entry)
    with opened() as records:
        (view,) = Collection(records, tmp_path / "out").specimens()
        assert view.scans[0].failure is None
    run_under("north", entry, purpose="trial", stop_when_queued=True)
    with opened() as records:
        (view,) = Collection(records, tmp_path / "out").specimens()
    assert view.scans[0].failure is not None
    assert "Not done yet" in view.scans[0].failure.sentence


def test_pictures_that_are_gone_or_altered_cost_no_other_page(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_on: Run, opened: Callable[[], Records], tmp_path: Path
) -> None:
    run_on(cohort_of(make_entry(slide_of("clear"), "one"), make_entry(slide_of("blurred"), "two")))
    with opened() as records:
        gone, kept = records.scan_results()
        (tmp_path / "out" / next(path for path in gone.artefacts if path.endswith("thumbnail.png"))).write_bytes(b"x")
        views = {view.decision.specimen: view for view in Collection(records, tmp_path / "out").specimens()}
    assert views[gone.specimen].scans[0].images.heatmap is None
    assert views[gone.specimen].scans[0].posterior is not None
    assert views[kept.specimen].scans[0].images.heatmap is not None


def test_asked_to_stop_during_intake_nothing_is_decided_and_the_rest_comes_later(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    bundle: Bundle,
    watcher: object,
    opened: Callable[[], Records],
    tmp_path: Path,
) -> None:
    """The second file is the first's copy under another case: a decision before it is seen would be wrong."""
    both = cohort_of(*(make_entry(slide_of("clear"), name) for name in ("one", "two")))
    stop = StopRequest()

    def halt(_waiting: int) -> None:
        stop.asked = stop.now = True

    watcher.on_queued = halt  # type: ignore[attr-defined]
    policy = SitePolicy(name="test")
    summary = run_cohort(both, bundle, tmp_path / "out", policy=policy, events=watcher, stop=stop)  # type: ignore[arg-type]
    assert not summary.completed
    with opened() as records:
        assert records.decisions() == []
        assert all(task.state is TaskState.QUEUED for task in records.tasks())
    watcher.on_queued = lambda _waiting: None  # type: ignore[attr-defined]
    run_on(both)
    with opened() as records:
        assert len(records.decisions(latest_only=False)) == 2
        assert all(Reason.IDENTITY_CONFLICT in one.decision.reasons for one in records.decisions())


def test_a_disk_that_fails_while_hashing_fails_that_scan_only(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    opened: Callable[[], Records],
    tmp_path: Path,
) -> None:
    bad = tmp_path / "bad.svs"
    bad.symlink_to("/proc/self/mem")  # whose first page is there to open and impossible to read
    summary = run_on(cohort_of(make_entry(bad, "bad"), make_entry(slide_of("clear"), "good")))
    assert (summary.scored, summary.failed, summary.left) == (1, 1, 0)
    with opened() as records:
        codes = {task.specimen: task.error_code for task in records.tasks()}
    assert codes == {"specimen bad": FileUnhashable.code, "specimen good": None}


def test_an_output_folder_that_fails_stops_the_run_and_the_scan_waits(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_on: Run, opened: Callable[[], Records], tmp_path: Path
) -> None:
    write_text(tmp_path / "out" / "scans", "a file where the folder should be")
    one = cohort_of(make_entry(slide_of("clear"), "one"))
    with pytest.raises(OutputUnusable):
        run_on(one, patience_s=0.0)
    with opened() as records:
        assert [task.state for task in records.tasks()] == [TaskState.QUEUED]
        assert records.runs()[-1].state is RunState.INTERRUPTED
    (tmp_path / "out" / "scans").unlink()
    assert run_on(one).scored == 1


def test_an_answer_that_cannot_be_recorded_fails_its_scan_only(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    opened: Callable[[], Records],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pellucid.pipeline import recording

    bad = slide_of("blurred")
    n_seen = []
    real = recording.distance

    def spoiled(*inputs: object) -> object:
        away, components = real(*inputs)  # type: ignore[arg-type]
        n_seen.append(away)
        return (float("nan") if len(n_seen) == 1 else away), components

    monkeypatch.setattr(recording, "distance", spoiled)
    summary = run_on(cohort_of(make_entry(bad, "bad"), make_entry(slide_of("clear"), "good")))
    assert (summary.completed, summary.scored, summary.failed) == (True, 1, 1)
    with opened() as records:
        codes = {task.specimen: task.error_code for task in records.tasks()}
    assert sorted(codes.values(), key=str) == [None, ValueUnrecordable.code]


def test_a_scan_whose_lease_was_lost_is_left_to_its_new_owner(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    watcher: object,
    opened: Callable[[], Records],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sqlalchemy import text

    stolen = []

    def steal(_scan: str) -> None:
        if stolen:
            return
        with opened() as records:
            with records._database.write() as connection:
                connection.execute(text("UPDATE task SET lease_until = 0 WHERE state = 'leased'"))
            stolen.append(records.claim("elsewhere:1:2", lease_s=600))

    monkeypatch.setattr(watcher, "started", steal)
    summary = run_on(cohort_of(*(make_entry(slide_of(kind), kind) for kind in ("clear", "blurred"))))
    assert (summary.completed, summary.scored, summary.left) == (True, 1, 1)
    assert [code for _, _, code in watcher.ends] == [LeaseLost.code, None]  # type: ignore[attr-defined]
    with opened() as records:
        assert sorted(task.state for task in records.tasks()) == [TaskState.DONE, TaskState.LEASED]


def test_a_file_that_was_never_hashed_is_not_scored_by_another_table_s_run(
    slide_of: Callable[[str], Path],
    copy_of: Callable[[Path, str], Path],
    make_entry: MakeEntry,
    run_on: Run,
    opened: Callable[[], Records],
    tmp_path: Path,
) -> None:
    late = cohort_of(make_entry(tmp_path / "late.svs", "late"))
    run_on(late)
    with opened() as records:
        records.retry_failed()
    copy_of(slide_of("clear"), "late.svs")
    assert run_on(cohort_of(make_entry(slide_of("blurred"), "other"))).scored == 1
    with opened() as records:
        assert [task.error_code for task in records.tasks(specimen="specimen late")] == [UnexpectedFailure.code]
    assert run_on(late).scored == 1


def test_a_conflict_names_its_code_and_both_specimens_by_pseudonym(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_on: Run, opened: Callable[[], Records]
) -> None:
    good = slide_of("clear")
    run_on(cohort_of(make_entry(good, "one"), make_entry(good, "two")))
    with opened() as records:
        recorded = records.decision("specimen one")
        other = records.pseudonym("specimen", "specimen two")
    assert recorded is not None
    findings = [one for one in recorded.decision.findings if one.reason is Reason.IDENTITY_CONFLICT]
    assert {one.code for one in findings} == {IdentityConflict.code, None}
    assert any(other in one.detail for one in findings)


def test_a_scan_that_waits_at_a_scale_since_corrected_is_not_scored(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_under: Run,
    opened: Callable[[], Records],
) -> None:
    slide = slide_of("scale_missing")
    run_under("here", make_entry(slide, "one", mpp=0.4), stop_when_queued=True)
    summary = run_under("here", make_entry(slide, "one", mpp=0.5))
    assert summary.completed
    with opened() as records:
        states = {task.payload["mpp"]: (task.state, task.error_code) for task in records.tasks()}
        assert states == {0.4: (TaskState.FAILED, TaskSuperseded.code), 0.5: (TaskState.DONE, None)}
        assert [one.mpp for one in records.observations() if one.probability is not None] == [0.5]
        recorded = records.decision("specimen one")
    assert recorded is not None
    assert recorded.version == 1


def test_the_index_of_an_interrupted_run_says_that_scans_wait(
    slide_of: Callable[[str], Path],
    make_entry: MakeEntry,
    run_under: Run,
    opened: Callable[[], Records],
    bundle: Bundle,
    tmp_path: Path,
) -> None:
    entries = [make_entry(slide_of(kind), kind) for kind in ("clear", "blurred")]
    summary = run_under("here", *entries, stop_when_queued=True)
    assert summary.left == 2
    with opened() as records:
        published = publish(records, tmp_path / "out", reference=bundle.reference, model=bundle.model_digest)
    text = published.index.read_text()
    assert "Scans not done yet" in text
    assert "2: start the same run again" in text


def test_scans_that_wait_for_one_purpose_are_done_although_another_took_the_specimen_over(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_under: Run, opened: Callable[[], Records]
) -> None:
    entry = make_entry(slide_of("clear"), "one")
    run_under("north", entry, stop_when_queued=True)
    run_under("north", entry, purpose="trial", stop_when_queued=True)
    summary = run_under("north", make_entry(slide_of("blurred"), "two"))
    assert (summary.scored, summary.failed) == (2, 0)
    with opened() as records:
        assert records.decision("specimen one") is None, "it waits for the run that took it over"
        assert len([task for task in records.tasks() if task.state is TaskState.QUEUED]) == 1


def test_embeddings_of_scans_that_ended_are_swept_at_the_next_start_and_others_are_kept(
    slide_of: Callable[[str], Path], make_entry: MakeEntry, run_on: Run, opened: Callable[[], Records], tmp_path: Path
) -> None:
    """A kill between the commit and the removal of the file leaves it."""
    one = cohort_of(make_entry(slide_of("clear"), "one"))
    run_on(one)
    with opened() as records:
        [task] = records.tasks()
    left, unknown = (tmp_path / "out" / "checkpoints" / f"{key}.embeddings" for key in (task.key, "ab" * 32))
    left.write_bytes(b"left behind")
    unknown.write_bytes(b"somebody else's")
    run_on(one)
    assert not left.exists()
    assert unknown.exists()
