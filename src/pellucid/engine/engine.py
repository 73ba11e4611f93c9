"""The supervisor: keeps every process busy with the scans in hand, until the ledger is finished."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.core.telemetry import logs
from pellucid.engine.batches import Batches, SlotState
from pellucid.engine.buffers import Buffers
from pellucid.engine.children import Ending
from pellucid.engine.claims import Claims
from pellucid.engine.config import EngineConfig, Models
from pellucid.engine.crew import Crew
from pellucid.engine.desk import Desk
from pellucid.engine.disk import Disk
from pellucid.engine.dispatch import Dispatch
from pellucid.engine.embedding import Embedding
from pellucid.engine.ends import LeaseGone, OutputGone, StorageHangs
from pellucid.engine.events import EngineEvents, Stopping
from pellucid.engine.flow import Flow
from pellucid.engine.jobs import ReaderJobs
from pellucid.engine.ledger import Ledger, Work
from pellucid.engine.member import Assignment, Member
from pellucid.engine.messages import Answer, BufferShape, Encode, Encoded, Role
from pellucid.engine.pace import Pace
from pellucid.engine.rates import Rates
from pellucid.engine.reading import Reading
from pellucid.engine.sampling import Sampling
from pellucid.engine.scans import Scans
from pellucid.engine.tasks import Tasks

_POLL_S = 0.5
_BEAT_S = 1.0
_LAST_PATIENCE_S = 5.0
_SETTLE_S = 10.0
_RELEASE_S = 10.0


class Engine:
    """Streams scans through readers and devices until the ledger is finished or somebody asks to stop.

    Args:
        models: what the processes load, and the last stage.
        config: sizes and limits.
        ledger: what is to be done and where answers go.
        events: is told what happens, in the event loop.
        stop: asked all the time whether to stop.
        waits_for: errors of the ledger that are waited out.
    """

    def __init__(
        self,
        models: Models,
        config: EngineConfig,
        ledger: Ledger,
        *,
        events: EngineEvents,
        stop: Stopping,
        waits_for: tuple[type[PellucidError], ...] = (),
    ) -> None:
        spec = models.spec
        self.models, self.config, self.stop = models, config, stop
        self._ledger, self._events = ledger, events
        self._failure: BaseException | None = None
        self._asked_at: float | None = None
        self._wakeup = asyncio.Event()
        self.rates = Rates()
        self.tasks, self._beats = Tasks(self.fail, self.wake), Tasks(self.fail, self.wake)
        self.desk = Desk((*waits_for, StorageFull, OutputGone), config.patience_s, events.paused)
        self.batches = Batches(config.n_slots, spec.batch_size)
        self._disk = Disk(self.desk, self.fail)
        self.scans = Scans(
            spec,
            config,
            ledger,
            samples=models.sampler is not None,
            desk=self.desk,
            disk=self._disk,
            tasks=self.tasks,
            events=self,
        )
        self._pace = Pace(spec.batch_size, len(models.devices), lambda: self.scans.backlog)
        self.claims = Claims(
            ledger,
            self.desk,
            self.tasks,
            self.scans,
            self._pace,
            open_scans=config.open_scans,
            files=config.max_readers,
        )
        self._jobs = itertools.count(1)

    def run(self) -> None:
        """Run to the end, also from where an event loop runs already, such as a notebook.

        Raises:
            PellucidError: what the engine can't go on without: its models, its processes, its ledger.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._main())
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine") as thread:
            thread.submit(asyncio.run, self._main()).result()

    # Life

    async def _main(self) -> None:
        spec = self.models.spec
        n_slots = self.config.n_slots
        shape = BufferShape(n_slots=n_slots, batch=spec.batch_size, tile_px=spec.tile_px, dim=spec.dim)
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._surprised(context))
        with contextlib.closing(Buffers.create(shape)) as buffers:
            self._set_up(buffers)
            self.crew.start()
            try:
                self._beats.spawn(self._beat())
                while not self._is_over():
                    self.claims.step()
                    self._dispatch.step()
                    self.rates.look(self)
                    await self._doze()
            finally:
                await self._wind_up()
        if self._failure is not None:
            raise self._failure

    def _set_up(self, buffers: Buffers) -> None:
        kills, next_job = self.config.kills, self._jobs.__next__
        self.crew = Crew(self.models, self.config, buffers, self)
        self.reading = self.claims.reading = Reading(
            ReaderJobs(self.models.spec, next_job),
            self.batches,
            self.scans,
            self._pace,
            readers=lambda: self.crew.of(Role.READER),
            kills=kills,
            identified=self.claims.identified,
        )
        embedding = Embedding(self.batches, buffers, self.scans, self._disk, next_job=next_job, kills=kills)
        sampling = Sampling(self.scans, next_job=next_job, kills=kills)
        self._dispatch = Dispatch(self.crew, self.scans, self.batches, self.reading, embedding, sampling)

    def wake(self) -> None:
        """Something changed: look for what can be done."""
        self._wakeup.set()

    def fail(self, error: BaseException) -> None:
        """The engine can't go on."""
        if self._failure is None:
            self._failure = error
        self.wake()

    def _surprised(self, context: dict[str, Any]) -> None:
        """An exception in a callback: without this the engine would wait for ever for what the callback was to do."""
        error = context.get("exception")
        logs.get_logger("engine").error("unexpected failure", what=context.get("message"), exc_info=error)
        self.fail(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))

    async def _doze(self) -> None:
        alarm = asyncio.get_running_loop().call_later(_POLL_S, self.wake)
        await self._wakeup.wait()
        alarm.cancel()
        self._wakeup.clear()

    def _is_over(self) -> bool:
        if self._failure is not None or self.stop.now:
            return True
        if self.stop.asked:
            return self._is_drained()
        return self.claims.over and not len(self.scans) and not self.claims.held and not len(self.tasks)

    def _is_drained(self) -> bool:
        """Whether what was in hand when somebody asked to stop has ended, or the grace has."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            logs.get_logger("engine").info("draining", scans=len(self.scans), grace_s=self.config.grace_s)
            self.claims.stop()
        return not len(self.scans) or time.monotonic() - self._asked_at > self.config.grace_s

    async def _wind_up(self) -> None:
        """Give back what is still in hand, end every process. What was embedded stays for the next attempt."""
        self.rates.stop()
        self.desk.hurry(0.0 if self.stop.now or self._failure is not None else _LAST_PATIENCE_S)
        self._beats.cancel()
        try:
            await self.crew.close()
            await self.tasks.settle(_SETTLE_S)
            await self._release([*self.scans.let_go(), *self.claims.held])
        finally:
            self._disk.close()
            self.desk.close()

    async def _release(self, works: Iterable[Work]) -> None:
        log = logs.get_logger("engine")
        for work in works:
            try:
                await asyncio.wait_for(self.desk.ask(self._ledger.release, work), _RELEASE_S)
            except LeaseGone:
                log.info("a scan was given back that somebody else has", scan=work.name)
            except (PellucidError, TimeoutError) as error:  # their leases run out, or their owner is seen to be dead
                log.error("scans could not be given back", reason=getattr(error, "code", "the ledger doesn't answer"))
                return

    # What the processes say

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:
        """A job is done, or refused."""
        if isinstance(answer, Encoded) and isinstance(assignment.job, Encode):
            self.rates.encoded(answer.seconds)
            self._pace.encoded(len(assignment.job.rows), answer.seconds)
        self._dispatch.answered(member, assignment, answer)

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A process ended, or can't be ended, with jobs in hand."""
        self._dispatch.bereaved(member, ending, hand)

    def laid(self, pid: int) -> None:
        """A process that could not be ended is gone after all."""
        self.batches.laid(pid)
        self.wake()

    # What becomes of the scans

    def taken(self, flow: Flow) -> None:
        """One was taken up."""
        self._events.started(flow.work.name)
        self.wake()

    def embedded(self, number: int, *, before: bool) -> None:
        """So many more tiles are embedded."""
        if not before:
            self.rates.tiles(number)
        self._events.tiles(number)

    def dropped(self, flow: Flow) -> None:
        """Nothing more is to be done for it."""
        self.batches.drop(flow.number)
        self.reading.drop(flow)

    def ended(self, flow: Flow) -> None:  # noqa: ARG002 - which one doesn't matter here
        """It left."""
        self.rates.ended()
        self.claims.again()

    # From time to time

    async def _beat(self) -> None:
        kept = synced = time.monotonic()
        while True:
            await asyncio.sleep(_BEAT_S)
            now = time.monotonic()
            self._disk.try_again()
            self.crew.watch()
            self._see_storage()
            self.rates.beat(self)
            self._events.beat(self)
            if now - synced > self.config.sync_s:
                synced = now
                self.tasks.once("sync", self.scans.sync)
            if now - kept > self.config.lease_s / 3:
                kept = now
                self.tasks.once("keep", self._keep_leases)
            if self.desk.because is None:
                self.tasks.once("tick", self._tick)
            self.wake()

    async def _tick(self) -> None:
        await self.desk.ask(self._ledger.tick)

    async def _keep_leases(self) -> None:
        self.claims.lost(await self.scans.keep_leases(self.claims.held))

    def _see_storage(self) -> None:
        """Pause while nobody gets anything from where the scans lie."""
        if not (self.reading.hangs or self.crew.is_stuck or not self.batches.usable):
            self.desk.go_on(StorageHangs)
            return
        hung = len(self.crew.unkillable)
        detail = f"; {hung} of them can't be ended" if hung else ""
        try:
            self.desk.wait_out(StorageHangs, StorageHangs(f"Processes hang in the system{detail}."))
        except StorageHangs as error:
            self.fail(error)

    def slots(self) -> dict[SlotState, int]:
        """How many buffers are in each state."""
        return {state: self.batches.count(state) for state in SlotState}
