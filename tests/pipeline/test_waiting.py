"""Specimens whose scans arrive one by one: decided when all are in, or when they have waited long enough."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pellucid.core.clock import utc_now
from pellucid.core.seeds import generator
from pellucid.core.serial import to_plain
from pellucid.domain.cohort import ScanEntry
from pellucid.domain.decision import Decision, Versions
from pellucid.domain.observation import Observation
from pellucid.domain.policy import SitePolicy
from pellucid.domain.quality import Quality
from pellucid.domain.reasons import Reason
from pellucid.domain.scan import Scale, ScaleSource, ScanInfo
from pellucid.pipeline import explain_specimen
from pellucid.pipeline.arrivals import Watch, WatchedFiles, WatchedTable
from pellucid.pipeline.decisions import Terms, decide_entered, decide_specimen, due, gather_evidence
from pellucid.pipeline.filing import Filing, KeyParts
from pellucid.pipeline.intake import Intake
from pellucid.pipeline.watch import WatchedFolder
from pellucid.records import Records, open_records
from pellucid.slides.identity import identify_marked
from pellucid.statistics.posterior import summarise
from pellucid.triage import Gates

GATES = Gates(temperature=1.0, level=0.9, sd_limit=0.5, distance_limit=4.0, synthetic_model=True)
POLICY = SitePolicy(name="site")
INFO = ScanInfo(
    width=1000,
    height=1000,
    level_downsamples=(1.0,),
    vendor="v",
    reader="r",
    scale=Scale(mpp_x=0.5, mpp_y=0.5, source=ScaleSource.FILE, detail="d"),
    claimed_mpp=0.5,
    objective_power=None,
    scanner=None,
    synthetic=True,
)
LATE = "1 scan arrived after version 1, which was decided without it"


@dataclass
class Bench:
    """A run without an engine: whatever is queued is answered by `work`."""

    records: Records
    folder: Path
    run_id: str = ""
    model: str = "m" * 64

    @property
    def versions(self) -> Versions:
        return Versions(model=self.model, policy=POLICY.digest, software="s" * 64, software_version="0")

    @property
    def parts(self) -> KeyParts:
        return KeyParts(model=self.model, purpose="run")

    @property
    def terms(self) -> Terms:
        return Terms(gates=GATES, policy=POLICY, versions=self.versions, lane=self.parts.lane)

    def start(self) -> None:
        self.run_id = f"run-{len(self.records.runs())}"
        settings = {"bundle_digest": self.model, "gates": to_plain(GATES), "policy": to_plain(POLICY)}
        self.records.start_run(run_id=self.run_id, purpose="run", versions=self.versions, settings=settings, command="")

    def intake(self, **options: object) -> Intake:
        filing = Filing(records=self.records, run_id=self.run_id, parts=self.parts, **options)  # type: ignore[arg-type]
        return Intake(filing)

    def file(self, name: str) -> Path:
        path = self.folder / name
        path.write_text(f"the bytes of {name}")
        return path

    def take_in(self, intake: Intake) -> list[Decision]:
        """Hash and enter what arrived; the decisions that this made."""
        while (path := intake.to_identify()) is not None:
            intake.identified(path, *identify_marked(path))
        return [
            decision
            for entered in intake.entered()
            for decision in decide_entered(self.records, entered, self.terms, run_id=self.run_id)
        ]

    def work(self) -> list[Decision]:
        """Answer every queued task; the decisions that this made."""
        decided = []
        while (task := self.records.claim("here:1:1", lane=self.parts.lane)) is not None:
            scan = task.scan_digest or task.key
            logits = generator("waiting", scan).normal(size=50) * 0.1
            posterior = summarise(np.asarray(logits), temperature=1.0, n_scans=1, level=0.9)
            observation = Observation(
                scan=scan,
                specimen=task.specimen,
                run=self.run_id,
                at=utc_now(),
                purpose="run",
                scanner=None,
                strata={},
                mpp=0.5,
                mpp_source="file",
                n_tiles=10,
                features={},
                embedding=(),
                distance=1.0,
                mean_logit=posterior.mean_logit,
                sd_logit=posterior.sd_logit,
                probability=posterior.probability,
                mutual_information=posterior.mutual_information,
                reasons=(),
                error=None,
                timings={},
                model=self.model,
                policy=POLICY.digest,
                software="s",
            )
            self.records.complete(
                task,
                observation=observation,
                logits=posterior.logits,
                posterior=posterior,
                quality=Quality(measures=()),
                info=INFO,
            )
            decided.append(self.decide(task.specimen))
        return [decision for decision in decided if decision is not None]

    def decide(self, specimen: str) -> Decision | None:
        return decide_specimen(self.records, specimen, self.terms, run_id=self.run_id)

    def decide_due(self) -> list[Decision | None]:
        return [self.decide(name) for name in due(self.records, self.terms)]

    def history(self, specimen: str) -> list[Decision]:
        every = self.records.decisions(latest_only=False)
        return [one.decision for one in every if one.decision.specimen == specimen]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "scans"
    folder.mkdir()
    with open_records(tmp_path / "records.sqlite") as records:
        bench = Bench(records, folder)
        bench.start()
        yield bench


Make = Callable[..., ScanEntry]


def incomplete(decision: Decision) -> list[str]:
    return [finding.detail for finding in decision.findings if finding.reason is Reason.CASE_INCOMPLETE]


def rows_of(bench: Bench, make_entry: Make, n: int, **changes: object) -> list[ScanEntry]:
    return [make_entry(bench.folder / f"{number}.svs", "one", **changes) for number in range(n)]


def arrive(bench: Bench, intake: Intake, row: ScanEntry) -> list[Decision]:
    bench.file(row.path.name)
    intake.arrived([row.path])
    return bench.take_in(intake)


def test_a_decision_waits_until_all_expected_scans_are_in(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=3600), rows_of(bench, make_entry, 3)
    intake.expect(rows)
    for row in rows[:2]:
        assert arrive(bench, intake, row) == []
        assert bench.work() == []
        assert due(bench.records, bench.terms) == []
    assert arrive(bench, intake, rows[2]) == []
    (decision,) = bench.work()
    assert decision.posterior is not None
    assert decision.posterior.n_scans == 3
    assert incomplete(decision) == []


def test_past_its_deadline_a_specimen_is_decided_and_says_how_many_of_how_many(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=0.3), rows_of(bench, make_entry, 3)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    assert bench.work() == []
    time.sleep(0.35)
    (decision,) = bench.decide_due()
    assert decision is not None
    assert incomplete(decision) == ["1 of 3 expected scans arrived"]
    assert decision.posterior is not None
    assert decision.posterior.n_scans == 1
    assert bench.decide_due() == [], "it stands"
    assert explain_specimen(bench.records, "specimen one").derived == decision


def test_a_specimen_that_is_overdue_still_waits_for_the_scans_at_work(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=0.0), rows_of(bench, make_entry, 2)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    assert bench.decide_due() == bench.history("specimen one") == []
    (decision,) = bench.work()
    assert incomplete(decision) == ["1 of 2 expected scans arrived"]


def test_a_late_scan_makes_a_new_version_that_says_so_and_stands(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(wait_s=0.0), rows_of(bench, make_entry, 1, n_scans=2)
    bench.file("0.svs")
    intake.expect(rows)
    intake.arrived([rows[0].path])
    bench.take_in(intake)
    assert [incomplete(one) for one in bench.work()] == [["1 of 2 expected scans arrived"]]
    intake.expect(rows_of(bench, make_entry, 2, n_scans=2))
    assert arrive(bench, intake, rows_of(bench, make_entry, 2)[1]) == []
    (decision,) = bench.work()
    assert incomplete(decision) == [LATE]
    assert [one.version for one in bench.records.decisions()] == [2]
    assert bench.decide("specimen one") is None
    assert bench.decide_due() == []
    assert explain_specimen(bench.records, "specimen one").derived == decision
    assert bench.records.verify_audit().ok


def test_each_late_scan_is_told_against_the_version_before_it(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=0.0), rows_of(bench, make_entry, 3)
    intake.expect(rows)
    for row in rows:
        arrive(bench, intake, row)
        bench.work()
        assert bench.decide("specimen one") is None
    assert [incomplete(one) for one in bench.history("specimen one")] == [
        ["1 of 3 expected scans arrived"],
        ["2 of 3 expected scans arrived", LATE],
        [LATE.replace("version 1", "version 2")],
    ]


def test_a_specimen_of_which_nothing_arrives_is_decided_once_for_all(bench: Bench, make_entry: Make) -> None:
    intake = bench.intake(open_ended=True, wait_s=0.0)
    intake.expect(rows_of(bench, make_entry, 2))
    (decision,) = bench.take_in(intake)
    assert incomplete(decision) == ["0 of 2 expected scans arrived"]
    assert decision.posterior is None
    other = replace(bench.terms, versions=replace(bench.versions, model="n" * 64))
    assert due(bench.records, other) == []


def test_a_specimen_is_due_for_the_lane_of_its_tasks_alone(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=0.3), rows_of(bench, make_entry, 2)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    bench.work()
    time.sleep(0.35)
    assert due(bench.records, replace(bench.terms, lane="another")) == []
    assert due(bench.records, bench.terms) == ["specimen one"]


def test_without_a_deadline_a_specimen_waits_for_ever(bench: Bench, make_entry: Make) -> None:
    intake, rows = bench.intake(open_ended=True, wait_s=None), rows_of(bench, make_entry, 2)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    assert bench.work() == []
    assert bench.decide_due() == []
    assert [filed.specimen for filed in bench.records.waiting_specimens()] == ["specimen one"]


def test_a_restarted_watch_neither_takes_back_nor_repeats_a_decision(bench: Bench, make_entry: Make) -> None:
    rows = rows_of(bench, make_entry, 2)
    intake = bench.intake(open_ended=True, wait_s=0.0)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    bench.work()
    (bench.folder / "0.svs").unlink()
    before = bench.history("specimen one")
    bench.start()
    again = bench.intake(open_ended=True, wait_s=0.0)
    again.expect(rows)
    assert bench.take_in(again) == []
    assert bench.decide_due() == []
    assert bench.history("specimen one") == before


def test_a_watch_under_another_model_leaves_alone_what_it_has_no_file_of(bench: Bench, make_entry: Make) -> None:
    rows = rows_of(bench, make_entry, 1)
    intake = bench.intake(open_ended=True, wait_s=0.0)
    intake.expect(rows)
    arrive(bench, intake, rows[0])
    (decision,) = bench.work()
    (bench.folder / "0.svs").unlink()
    bench.model = "n" * 64
    bench.start()
    other = bench.intake(open_ended=True, wait_s=0.0)
    other.expect(rows)
    assert bench.take_in(other) == bench.decide_due() == []
    assert bench.history("specimen one") == [decision]


def test_a_scan_that_another_case_brings_later_holds_a_specimen_that_was_decided(
    bench: Bench, make_entry: Make
) -> None:
    intake = bench.intake()
    one, two = make_entry(bench.file("a.svs"), "one"), make_entry(bench.folder / "b.svs", "two")
    intake.expect([one])
    intake.arrived([one.path])
    bench.take_in(intake)
    assert len(bench.work()) == 1
    two.path.write_bytes(one.path.read_bytes())
    intake.expect([two])
    intake.arrived([two.path])
    decided = bench.take_in(intake)
    assert sorted(decision.specimen for decision in decided) == ["specimen one", "specimen two"]
    assert all(Reason.IDENTITY_CONFLICT in decision.reasons for decision in decided)
    assert all(decision.posterior is None for decision in decided)


def test_evidence_of_a_specimen_that_waits_is_not_gathered(bench: Bench, make_entry: Make) -> None:
    intake = bench.intake(open_ended=True, wait_s=3600)
    intake.expect(rows_of(bench, make_entry, 2))
    bench.take_in(intake)
    assert gather_evidence(bench.records, "specimen one", lane=bench.terms.lane) is None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def test_a_watched_folder_with_a_table_from_first_arrival_to_late_scan(bench: Bench, tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("case,specimen,path,n_scans\nC,S,a.svs,2\nC,S,b.svs,2\nD,T,c.svs,\n")
    clock = Clock()
    folder = WatchedFolder(bench.folder, settle_s=5, clock=clock)
    watch = Watch(WatchedTable(folder, table))
    intake = bench.intake(open_ended=True, wait_s=0.5)

    def step(seconds: float) -> list[Decision]:
        clock.now += seconds
        watch.poll(intake)
        return bench.take_in(intake) + bench.work() + [one for one in bench.decide_due() if one is not None]

    for name in ("a.svs", "c.svs", "stray.svs"):
        bench.file(name)
    assert step(0) == []
    (first,) = step(6)
    assert first.specimen == "T"
    assert watch.latest is not None
    assert [path.name for path in watch.latest.unmatched] == ["stray.svs"]
    time.sleep(0.55)
    (overdue,) = step(3)
    assert (overdue.specimen, incomplete(overdue)) == ("S", ["1 of 2 expected scans arrived"])
    bench.file("b.svs")
    step(3)
    (late,) = step(6)
    assert (late.specimen, incomplete(late)) == ("S", [LATE])
    assert step(3) == []


def test_a_watch_looks_only_so_often_and_takes_bare_files(bench: Bench) -> None:
    clock = Clock()
    watch = Watch(WatchedFiles(WatchedFolder(bench.folder, settle_s=0, clock=clock)), every_s=2)
    intake = bench.intake(open_ended=True)
    watch.poll(intake)
    bench.file("a.svs")
    watch.poll(intake)
    assert intake.n_files == 0
    clock.now += 2
    watch.poll(intake)
    assert intake.n_files == 1
    bench.take_in(intake)
    (decision,) = bench.work()
    assert decision.specimen == os.fspath(bench.folder / "a.svs")
