"""The main job: scans from the task table, one after the other, each ending in a recorded state."""

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pellucid._version import __version__
from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError
from pellucid.core.files import write_text
from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.core.telemetry import logs
from pellucid.core.telemetry.metrics import MetricsServer, ScanMetrics, serve, write_textfile
from pellucid.domain.cohort import Cohort
from pellucid.domain.decision import Decision, Versions
from pellucid.domain.policy import SitePolicy
from pellucid.pipeline.artefacts import writing
from pellucid.pipeline.decisions import Terms, decide_again, decide_specimen, gates_of
from pellucid.pipeline.errors import PortUnusable
from pellucid.pipeline.intake import Arrival, KeyParts, enter, receive
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.metrics import run_metrics
from pellucid.pipeline.work import Worker
from pellucid.records import DATABASE_NAME, ClaimedTask, LeaseLost, TaskState, open_records, process_owner

if TYPE_CHECKING:
    from pellucid.bundle import Bundle

LOG = "run.jsonl"
METRICS = "metrics.prom"
_LEASE_S = 6 * 3600.0  # one scan's longest; a dead owner on this machine is noticed at once, not by its lease
_NOTICE = "RESEARCH-USE-ONLY.txt"


class RunEvents(Protocol):
    """What somebody who watches a run is told."""

    def hashed(self, done: int, total: int) -> None:
        """`done` of `total` files were hashed."""

    def queued(self, waiting: int, known: int) -> None:
        """`waiting` scans are to be done; `known` were finished before."""

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""

    def tiles(self, done: int, total: int) -> None:
        """`done` of the scan's `total` tiles are encoded."""

    def ended(self, scan: str, probability: float | None, code: str | None) -> None:
        """The scan ended with an answer, or with an error code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run. `database` None is an SQLite file in the output folder."""

    purpose: str = "run"
    retry_failed: bool = False
    keep_bags: bool = False
    database: str | None = None
    metrics_port: int | None = None
    log_level: str = "info"
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended. `left` scans wait for the same command to be started again."""

    run_id: str
    completed: bool
    scored: int
    failed: int
    known: int
    left: int
    tiles: int
    seconds: float


@dataclass(slots=True)
class _Tally:
    scored: int = 0
    failed: int = 0
    tiles: int = 0
    since: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.since, 3)


def run_cohort(
    cohort: Cohort,
    bundle: "Bundle",
    out: Path,
    *,
    policy: SitePolicy,
    events: RunEvents,
    options: RunOptions = RunOptions(),
    stop: StopRequest | None = None,
    metrics: ScanMetrics | None = None,
) -> RunSummary:
    """Score every scan of a cohort and decide every specimen; go on where an earlier run stopped.

    A scan that fails is recorded with its error and the run goes on. Results, decisions and audit events are in the
    database before the next scan begins.

    Args:
        cohort: the scans to do.
        bundle: a verified bundle whose golden checks hold on this machine.
        out: the folder of database, pictures, log and metrics.
        policy: the site's policy.
        events: is told what happens.
        options: how to run.
        stop: asked between scans whether to stop.
        metrics: those of `run_metrics`, where the caller adds to them after the run.

    Raises:
        StorageFull: no space is left; the scan in hand is released and the run marked as interrupted.
        OutputUnusable: the folder can't be written to.
        PortUnusable: the metrics' port is taken or forbidden.
        KeyboardInterrupt: stopped at once, the scan in hand released; or asked to stop while the files were hashed.
    """
    stop = stop or StopRequest()
    versions = Versions(
        model=bundle.model_digest, policy=policy.digest, software=software_digest(), software_version=__version__
    )
    parts = KeyParts.of(bundle, policy, options.purpose)
    run_id = f"{utc_now()[:19].replace(':', '').replace('-', '')}-{secrets.token_hex(2)}"
    _prepare(out, synthetic=bundle.synthetic, log_level=options.log_level)
    metrics = metrics or run_metrics(bundle)
    with ExitStack() as stack:
        if options.metrics_port is not None:
            stack.enter_context(_serve(metrics, options.metrics_port))
        records = stack.enter_context(open_records(options.database or out / DATABASE_NAME))
        stack.enter_context(logs.bound(run_id=run_id))
        arrivals = receive(cohort, parts, events.hashed, stop)
        records.start_run(
            run_id=run_id,
            purpose=options.purpose,
            versions=versions,
            settings=_settings(bundle, policy, options),
            command=options.command,
        )
        worker = Worker(
            records=records,
            bundle=bundle,
            out=out,
            run_id=run_id,
            versions=versions,
            purpose=options.purpose,
            errors={arrival.key: arrival.error for arrival in arrivals if arrival.error is not None},
            keep_bags=options.keep_bags,
            wanted=frozenset(arrival.key for arrival in arrivals),
            metrics=metrics,
        )
        terms = Terms(gates=gates_of(bundle), policy=policy, versions=versions, lane=parts.lane)
        return _Run(worker=worker, terms=terms, parts=parts, events=events, options=options).carry_out(arrivals, stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One start of the main job."""

    worker: Worker
    terms: Terms
    parts: KeyParts
    events: RunEvents
    options: RunOptions
    tally: _Tally = field(default_factory=_Tally)
    awaiting: dict[str, set[str]] = field(default_factory=dict)
    """The specimens that wait for each task; the same scan under two cases is one task that two specimens wait for."""

    def carry_out(self, arrivals: Sequence[Arrival], stop: StopRequest) -> RunSummary:
        state, known = "interrupted", 0
        try:
            known = self._enter(arrivals)
            stopped = self._work(stop)
            state = "interrupted" if stopped else "completed"
        except PellucidError as error:
            logs.get_logger("pipeline").error("the run stops and can be resumed", code=error.code)
            raise
        finally:
            self._close(state)
        return self._summary(arrivals, state, known)

    def _enter(self, arrivals: Sequence[Arrival]) -> int:
        records, metrics = self.worker.records, self.worker.metrics
        held = self._held()
        entered = enter(
            arrivals, records, run_id=self.worker.run_id, parts=self.parts, retry_failed=self.options.retry_failed
        )
        waiting = self._waiting(arrivals)
        known = len({arrival.key for arrival in arrivals}) - waiting
        metrics.slides_received.inc(len(entered.new))
        self._show_metrics()
        self.events.queued(waiting, known)
        for arrival in arrivals:
            self.awaiting.setdefault(arrival.key, set()).add(arrival.entry.specimen)
        own = set().union(*self.awaiting.values())
        for specimen in sorted(own):
            self._decide(specimen)
        # A conflict that began or ended changes specimens of earlier runs too.
        for specimen in sorted((held | self._held()) - own):
            self._decide(specimen)
            self._count(decide_again(records, specimen, software=self.terms.versions))
        return known

    def _held(self) -> set[str]:
        return {name for conflict in self.worker.records.identity_conflicts() for name in conflict.specimens}

    def _work(self, stop: StopRequest) -> bool:
        """Do tasks until none is left (False) or somebody asked to stop (True)."""
        owner = process_owner()
        records = self.worker.records
        while not stop.asked:
            task = records.claim(owner, lease_s=_LEASE_S, lane=self.parts.lane)
            if task is None:
                return False
            self._one(task)
        return True

    def _one(self, task: ClaimedTask) -> None:
        name = self.worker.pseudonym(task)
        self.events.started(name)
        with logs.bound(scan=name):
            try:
                outcome = self.worker.carry_out(task, self.events.tiles)
            except LeaseLost as error:
                # Somebody else records how this scan ends; the others are still to be done.
                logs.get_logger("pipeline").warning("lease lost", code=error.code)
                self.events.ended(name, None, error.code)
                return
            except BaseException:
                # Whatever ends the run here, the scan is not lost: it goes back into the queue.
                self.worker.records.release(task)
                raise
        self.tally.tiles += outcome.n_tiles
        self.tally.scored += outcome.probability is not None
        self.tally.failed += outcome.probability is None
        self.events.ended(name, outcome.probability, outcome.code)
        for specimen in sorted(self.awaiting.get(task.key, set()) | {task.specimen}):
            self._decide(specimen)
        self._show_metrics()

    def _decide(self, specimen: str) -> None:
        """Decide a specimen whose scans have all ended; others wait."""
        records = self.worker.records
        self._count(decide_specimen(records, specimen, self.terms, run_id=self.worker.run_id))

    def _count(self, decided: Decision | None) -> None:
        if decided is not None:
            self.worker.metrics.decided(
                decided.verdict.value, decided.disposition.value, [reason.value for reason in decided.reasons]
            )

    def _waiting(self, arrivals: Sequence[Arrival]) -> int:
        tasks = self.worker.records.tasks(keys={arrival.key for arrival in arrivals})
        return sum(task.state in {TaskState.QUEUED, TaskState.LEASED} for task in tasks)

    def _show_metrics(self) -> None:
        counts = self.worker.records.counts(lane=self.parts.lane)
        self.worker.metrics.set_queue({"waiting": counts[TaskState.QUEUED], "running": counts[TaskState.LEASED]})
        with writing(self.worker.out):
            write_textfile(self.worker.metrics, self.worker.out / METRICS)

    def _close(self, state: str) -> None:
        """Mark the run's end; where even that can't be written, the next run finds it open and says so."""
        tally = self.tally
        summary = {"scored": tally.scored, "failed": tally.failed, "tiles": tally.tiles, "seconds": tally.seconds}
        try:
            self.worker.records.finish_run(self.worker.run_id, state, summary)
        except PellucidError as error:
            logs.get_logger("pipeline").error("the run's end could not be recorded", code=error.code)

    def _summary(self, arrivals: Sequence[Arrival], state: str, known: int) -> RunSummary:
        return RunSummary(
            run_id=self.worker.run_id,
            completed=state == "completed",
            scored=self.tally.scored,
            failed=self.tally.failed,
            known=known,
            left=self._waiting(arrivals),
            tiles=self.tally.tiles,
            seconds=self.tally.seconds,
        )


def _prepare(out: Path, *, synthetic: bool, log_level: str) -> None:
    notice = "Research use only. Not for diagnosis or treatment.\n"
    if synthetic:
        notice += "SYNTHETIC: the model was trained on generated slides; its numbers mean nothing for a patient.\n"
    with writing(out):
        write_text(out / _NOTICE, notice)
        logs.configure_logging(file=out / LOG, console=None, level=log_level)


def _serve(metrics: ScanMetrics, port: int) -> MetricsServer:
    try:
        return serve(metrics, port)
    except (OSError, OverflowError) as error:
        raise PortUnusable(f"The metrics can't be offered on port {port}: {error}.") from error


def _settings(bundle: "Bundle", policy: SitePolicy, options: RunOptions) -> dict[str, Any]:
    """What a later `explain` needs to derive the decisions of this run again."""
    return {
        "bundle": bundle.name,
        "bundle_digest": bundle.digest,
        "synthetic": bundle.synthetic,
        "encoder": to_plain(bundle.spec),
        "n_passes": bundle.calibration.n_passes,
        "gates": to_plain(gates_of(bundle)),
        "policy": to_plain(policy),
        "purpose": options.purpose,
    }
