"""The main job: a cohort, a watched folder or a queue, streamed through the engine into records and decisions."""

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pellucid._version import __version__
from pellucid.core.clock import utc_now
from pellucid.core.errors import PellucidError
from pellucid.core.files import write_text
from pellucid.core.serial import to_plain
from pellucid.core.software import software_digest
from pellucid.core.telemetry import logs
from pellucid.core.telemetry.metrics import MetricsServer, ScanMetrics, serve, write_textfile
from pellucid.domain.cohort import Cohort
from pellucid.domain.decision import Versions
from pellucid.domain.policy import SitePolicy
from pellucid.engine.config import EngineConfig
from pellucid.engine.engine import Engine
from pellucid.engine.observing import Tuning, take_snapshot
from pellucid.engine.sizing import MODEL_BYTES, Sizing, allotted_cores, choose_sizing, memory_budget
from pellucid.engine.snapshot import STATUS_NAME, EngineSnapshot, ended, write_snapshot
from pellucid.pipeline.artefacts import writing
from pellucid.pipeline.decisions import Terms, gates_of
from pellucid.pipeline.errors import OutputUnusable, PortUnusable
from pellucid.pipeline.intake import Filing, Intake, KeyParts
from pellucid.pipeline.interruption import StopRequest
from pellucid.pipeline.ledger import Arrivals, LedgerEvents, RecordsLedger
from pellucid.pipeline.metrics import run_metrics
from pellucid.pipeline.models import AUTO, CPU, device_names, models_of
from pellucid.pipeline.recording import Recording
from pellucid.records import (
    DATABASE_NAME,
    Records,
    RecordsLocked,
    RecordsUnavailable,
    TaskState,
    open_records,
    process_owner,
)

if TYPE_CHECKING:
    from pellucid.pipeline.models import Model

LOG = "run.jsonl"
METRICS = "metrics.prom"
CHECKPOINTS = "checkpoints"
_NOTICE = "RESEARCH-USE-ONLY.txt"
_METRICS_S = 5.0


class RunEvents(LedgerEvents, Protocol):
    """What somebody who watches a run is told. Ends and queue are told in another thread than the rest."""

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""

    def tiles(self, number: int) -> None:
        """So many more tiles are embedded."""

    def paused(self, because: PellucidError | None) -> None:
        """The run waits for its disk or database; None: it goes on."""

    def snapshot(self, snapshot: EngineSnapshot) -> None:
        """The engine, about once a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run.

    Attributes:
        purpose: what the answers are for; part of their keys.
        embeddings_only: end each scan with its bag, without posterior or decision.
        decides: make a decision of each specimen; certification and evaluation count without one.
        retry_failed: try failed scans again.
        keep_bags: keep each scan's embeddings.
        database: URL of the records; None is an SQLite file in the output folder.
        priority: of the scans that this run enters; from 1000 on they are urgent.
        wait_s: how long a decision waits for scans that have not arrived; None for ever.
        serves: go on while the queue is empty, until asked to stop.
        readers: reader processes; None chooses, and adjusts while it runs.
        device_threads: threads of the encoder on a CPU; None chooses.
        device: where encoders run: `cpu`, `cuda`, or `auto`, an accelerator where there is one.
        devices: accelerators to use, at most as many as there are.
        grace_s, stall_s, device_stall_s, patience_s, lease_s, recycle_jobs: see `EngineConfig`.
    """

    purpose: str = "run"
    embeddings_only: bool = False
    decides: bool = True
    retry_failed: bool = False
    keep_bags: bool = False
    database: str | None = None
    metrics_port: int | None = None
    log_level: str = "info"
    command: str = ""
    priority: int = 0
    wait_s: float | None = 0.0
    serves: bool = False
    readers: int | None = None
    device_threads: int | None = None
    device: str = AUTO
    devices: int = 1
    grace_s: float = 60.0
    stall_s: float = 120.0
    patience_s: float = 3600.0
    device_stall_s: float = 600.0
    lease_s: float = 120.0
    recycle_jobs: int = 4000


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
    device_busy_share: float = 0.0
    restarts: int = 0


def run_cohort(
    cohort: Cohort,
    bundle: "Model",
    out: Path,
    *,
    policy: SitePolicy,
    events: RunEvents,
    options: RunOptions = RunOptions(),
    stop: StopRequest | None = None,
    metrics: ScanMetrics | None = None,
    arrivals: Arrivals | None = None,
) -> RunSummary:
    """Score every scan of a cohort and decide every specimen; go on where an earlier run stopped.

    A scan that fails is recorded with its error and the run goes on. A full disk or a lost database is waited for.

    Args:
        cohort: the scans to do; empty for a worker, which does what others entered.
        bundle: a verified bundle, whose golden outputs the device process reproduces on this machine; or an encoder
            alone, where the run ends with embeddings.
        out: the folder of database, pictures, log, metrics and embeddings in the making.
        policy: the site's policy.
        events: is told what happens.
        options: how to run.
        stop: asked all the time whether to stop.
        metrics: those of `run_metrics`, where the caller adds to them after the run.
        arrivals: where more scans come from while the run goes on; `cohort` then says what is expected.

    Raises:
        StorageFull, OutputUnusable, RecordsUnavailable: for longer than the patience; scans in hand are given back.
        BundleChanged, GoldenMismatch, ProcessesDie: the engine can't work.
        PortUnusable: the metrics' port is taken or forbidden.
    """
    stop = stop or StopRequest()
    versions = Versions(
        model=bundle.model_digest, policy=policy.digest, software=software_digest(), software_version=__version__
    )
    parts = KeyParts.of(bundle, options.purpose)
    run_id = f"{utc_now()[:19].replace(':', '').replace('-', '')}-{secrets.token_hex(2)}"
    _prepare(out, synthetic=bundle.synthetic, log_level=options.log_level)
    metrics = metrics or run_metrics(bundle)
    metrics.set_certificates(held=bool(policy.certificates), expires_on=policy.expires_on)
    with ExitStack() as stack:
        if options.metrics_port is not None:
            stack.enter_context(_serve(metrics, options.metrics_port))
        records = stack.enter_context(open_records(options.database or out / DATABASE_NAME))
        stack.enter_context(logs.everywhere(run_id=run_id))
        records.start_run(
            run_id=run_id,
            purpose=options.purpose,
            versions=versions,
            settings=_settings(bundle, policy, options) | {"out": str(out.absolute())},
            command=options.command,
        )
        recording = Recording(
            records=records,
            bundle=bundle,
            out=out,
            run_id=run_id,
            versions=versions,
            purpose=options.purpose,
            keep_bags=options.keep_bags or options.embeddings_only,
            metrics=metrics,
        )
        filing = Filing(
            records=records,
            run_id=run_id,
            parts=parts,
            retry_failed=options.retry_failed,
            wait_s=options.wait_s,
            priority=options.priority,
            open_ended=arrivals is not None,
        )
        ledger = RecordsLedger(
            recording=recording,
            intake=Intake.of(cohort, filing) if arrivals is None else Intake(filing),
            terms=Terms(gates=gates_of(bundle), policy=policy, versions=versions, lane=parts.lane),
            events=events,
            lease_s=options.lease_s,
            decides=options.decides and not options.embeddings_only,
            serves=options.serves,
            arrivals=arrivals,
        )
        return _Run(ledger=ledger, events=events, options=options, stop=stop).carry_out()


@dataclass(slots=True, kw_only=True)
class _Run:
    """One start of the main job."""

    ledger: RecordsLedger
    events: RunEvents
    options: RunOptions
    stop: StopRequest
    since: float = field(default_factory=time.monotonic)
    _tuning: Tuning | None = None
    _metrics_at: float = 0.0
    _latest: EngineSnapshot | None = None

    def carry_out(self) -> RunSummary:
        _sweep(self.ledger.recording.records, self.ledger.recording.out / CHECKPOINTS)
        state, engine = "interrupted", self._engine()
        self._write_metrics()
        self.stop.patient = True
        try:
            engine.run()
            state = "interrupted" if self.stop.asked else "completed"
        except PellucidError as error:
            logs.get_logger("pipeline").error("the run stops and can be resumed", code=error.code, reason=error.message)
            raise
        finally:
            self.stop.patient = False
            self._close(state)
            self._show_end()
            self._write_metrics()
        return self._summary(engine, completed=state == "completed")

    def _engine(self) -> Engine:
        options, recording = self.options, self.ledger.recording
        sizing = self._sizing()
        config = EngineConfig(
            checkpoints=recording.out / CHECKPOINTS,
            readers=options.readers or sizing.readers,
            max_readers=options.readers or sizing.max_readers,
            device_threads=options.device_threads or sizing.device_threads,
            n_slots=sizing.n_slots,
            open_scans=sizing.open_scans,
            lease_s=options.lease_s,
            grace_s=options.grace_s,
            stall_s=options.stall_s,
            device_stall_s=options.device_stall_s,
            patience_s=options.patience_s,
            recycle_jobs=options.recycle_jobs,
        )
        models = models_of(
            recording.bundle, passes=not options.embeddings_only, devices=options.devices, device=options.device
        )
        return Engine(
            models,
            config,
            self.ledger,
            events=self,
            stop=self.stop,
            waits_for=(RecordsUnavailable, RecordsLocked, OutputUnusable),
        )

    def _sizing(self) -> Sizing:
        model, options, cores = self.ledger.recording.bundle, self.options, allotted_cores()
        spec = model.spec
        device: Literal["cpu", "cuda"] = "cpu" if CPU in device_names(options.device, options.devices) else "cuda"
        sizing = choose_sizing(
            batch_bytes=spec.batch_size * (spec.tile_px * spec.tile_px * 3 + spec.dim * 2),
            device=device,
            cores=cores,
            memory=memory_budget(),
            device_threads=options.device_threads,
            model_bytes=MODEL_BYTES[device] + model.weights_bytes,
        )
        for sentence in sizing.explanation:
            logs.get_logger("engine").info("sizing", why=sentence)
        return sizing

    # Events of the engine

    def started(self, scan: str) -> None:
        self.events.started(scan)

    def tiles(self, number: int) -> None:
        self.events.tiles(number)

    def paused(self, because: PellucidError | None) -> None:
        self.events.paused(because)

    def beat(self, engine: Engine) -> None:
        """Say what is seen: to whoever watches, in `status.json`, in the metrics; and adjust the readers."""
        recording = self.ledger.recording
        snapshot = take_snapshot(engine, run_id=recording.run_id, owner=process_owner(), queue=self.ledger.queue)
        self._show(snapshot)
        if self._tuning is None:
            self._tuning = Tuning(engine, allotted_cores().cores)
        if self.options.readers is None:
            self._tuning.beat()
        if time.monotonic() - self._metrics_at > _METRICS_S:
            self._metrics_at = time.monotonic()
            self._write_metrics()

    def _show(self, snapshot: EngineSnapshot) -> None:
        self._latest = snapshot
        self.events.snapshot(snapshot)
        self.ledger.recording.metrics.show(snapshot)
        try:
            write_snapshot(self.ledger.recording.out / STATUS_NAME, snapshot)
        except (PellucidError, OSError) as error:  # the next one comes in a second
            logs.get_logger("engine").warning("status.json can't be written", reason=str(error))

    def _show_end(self) -> None:
        """Without a last word, an engine that ended would look like one that stands still."""
        if self._latest is not None:
            self._show(ended(self._latest))

    def _write_metrics(self) -> None:
        recording = self.ledger.recording
        try:
            with writing(recording.out):
                write_textfile(recording.metrics, recording.out / METRICS)
        except PellucidError as error:
            logs.get_logger("engine").warning("metrics can't be written", code=error.code)

    # The end

    def _close(self, state: str) -> None:
        """Mark the run's end; where even that can't be written, the next run finds it open and says so."""
        recording, tally = self.ledger.recording, self.ledger.tally
        seconds = round(time.monotonic() - self.since, 3)
        summary = {"scored": tally.scored, "failed": tally.failed, "tiles": tally.tiles, "seconds": seconds}
        try:
            recording.records.finish_run(recording.run_id, state, summary)
        except PellucidError as error:
            logs.get_logger("pipeline").error("the run's end could not be recorded", code=error.code)

    def _summary(self, engine: Engine, *, completed: bool) -> RunSummary:
        ledger, tally = self.ledger, self.ledger.tally
        return RunSummary(
            run_id=ledger.recording.run_id,
            completed=completed,
            scored=tally.scored,
            failed=tally.failed,
            known=ledger.known,
            left=_left(ledger.recording.records, ledger.wanted),
            tiles=tally.tiles,
            seconds=round(time.monotonic() - self.since, 3),
            device_busy_share=round(engine.rates.busy_share_run(len(engine.models.devices)), 4),
            restarts=sum(number for (_, cause), number in engine.crew.restarts.items() if cause != "recycled"),
        )


def _sweep(records: Records, checkpoints: Path) -> None:
    """Remove embeddings of scans that have ended: an engine killed just after a commit leaves them behind."""
    left = {path.stem: path for path in checkpoints.glob("*.embeddings")}
    for task in records.tasks(keys=set(left)) if left else []:
        if task.state in {TaskState.DONE, TaskState.FAILED, TaskState.QUARANTINED}:
            left[task.key].unlink(missing_ok=True)


def _left(records: Records, wanted: set[str]) -> int:
    tasks = records.tasks(keys=wanted) if wanted else []
    return sum(task.state in {TaskState.QUEUED, TaskState.LEASED} for task in tasks)


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


def _settings(bundle: "Model", policy: SitePolicy, options: RunOptions) -> dict[str, Any]:
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
