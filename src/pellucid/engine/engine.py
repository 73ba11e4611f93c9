"""The supervisor: claims scans, keeps every process busy, and sees each scan to its one end."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pellucid.core.errors import PellucidError, StorageFull
from pellucid.core.telemetry import logs
from pellucid.engine.batches import Batches, SlotState
from pellucid.engine.buffers import Buffers
from pellucid.engine.checkpoint import Checkpoint, CheckpointHeader
from pellucid.engine.children import Ending
from pellucid.engine.config import EngineConfig, Models
from pellucid.engine.crew import Assignment, Crew, Member
from pellucid.engine.desk import Desk
from pellucid.engine.embedding import Embedding
from pellucid.engine.ends import LeaseGone, NothingReadable, NoTissue, OutputGone, UnexpectedFailure
from pellucid.engine.flow import Flow, Stage
from pellucid.engine.ledger import Ledger, Work
from pellucid.engine.messages import (
    Answer,
    BufferShape,
    Encoded,
    Identified,
    Illustrated,
    Prepared,
    Refused,
    Role,
    Sample,
    Sampled,
    TilesRead,
)
from pellucid.engine.rates import Rates
from pellucid.engine.reading import ReaderAnswers, Reading, error_of_refusal

_POLL_S = 0.5
_BEAT_S = 1.0


class EngineEvents(Protocol):
    """What somebody who watches an engine is told."""

    def started(self, scan: str) -> None:
        """Work on the scan of this pseudonym begins."""

    def tiles(self, number: int) -> None:
        """So many more tiles are embedded."""

    def paused(self, because: PellucidError | None) -> None:
        """The engine waits for its disk or database; None: it goes on."""

    def beat(self, engine: "Engine") -> None:
        """About once a second: look at the engine and say what is seen."""


class Stopping(Protocol):
    """Whether somebody asked to stop: `asked` after what is in hand, `now` at once."""

    asked: bool
    now: bool


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
        waits_for: tuple[type[PellucidError], ...] = (StorageFull, OutputGone),
    ) -> None:
        self.models, self.config, self.ledger, self.stop = models, config, ledger, stop
        self.flows: dict[str, Flow] = {}
        self.rates = Rates()
        self._events = events
        self.desk = Desk((*waits_for, OutputGone), config.patience_s, events.paused, lambda: stop.now)
        self._failure: BaseException | None = None
        self._jobs = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: list[Callable[[], None]] = []
        self._held: Work | None = None
        self._claiming = self._identifying = False
        self._n_hashing = 0
        self._next_claim = self._next_file = 0.0
        self._over = False
        self._asked_at: float | None = None

    def run(self) -> None:
        """Run to the end.

        Raises:
            PellucidError: what the engine can't go on without: its models, its processes, its ledger.
        """
        asyncio.run(self._main())

    # Life

    async def _main(self) -> None:
        spec, config = self.models.spec, self.config
        shape = BufferShape(n_slots=config.n_slots, batch=spec.batch_size, tile_px=spec.tile_px, dim=spec.dim)
        self._wakeup = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self._surprised(context))
        with contextlib.closing(Buffers.create(shape)) as buffers:
            self._set_up(buffers)
            self.crew.start()
            beat = asyncio.get_running_loop().create_task(self._beat())
            beat.add_done_callback(self._reap)
            try:
                while not self._is_over():
                    self._step()
                    await self._doze()
            finally:
                beat.cancel()
                await self._wind_up()
        if self._failure is not None:
            raise self._failure

    def _set_up(self, buffers: Buffers) -> None:
        spec = self.models.spec
        self.batches = Batches(self.config.n_slots, spec.batch_size)
        self.crew = Crew(self.models, self.config, buffers, self)
        self.reading = Reading(
            spec,
            self.batches,
            self.flows,
            next_job=lambda: next(self._jobs),
            kills=self.config.kills,
            answers=ReaderAnswers(
                identified=self._identified,
                unidentified=self._unidentified,
                prepared=self._prepared,
                illustrated=self._commit,
                fail=self._fail,
                quarantine=self._quarantine,
            ),
        )
        self.embedding = Embedding(
            self.batches,
            buffers,
            self.flows,
            next_job=lambda: next(self._jobs),
            keep=self._keep_trying,
            embedded=self._embedded,
            fail=self._fail,
            tiles=self._count,
        )

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
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wakeup.wait(), _POLL_S)
        self._wakeup.clear()

    def _is_over(self) -> bool:
        if self._failure is not None or self.stop.now:
            return True
        if self.stop.asked:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                logs.get_logger("engine").info("draining", scans=len(self.flows), grace_s=self.config.grace_s)
            return not self.flows or time.monotonic() - self._asked_at > self.config.grace_s
        return self._over and not self.flows and self._held is None and not self._tasks

    async def _wind_up(self) -> None:
        """Give back what is still in hand, end every process. What was embedded stays for the next attempt."""
        await self.crew.close()
        for task in list(self._tasks):
            with contextlib.suppress(asyncio.CancelledError, PellucidError):
                await asyncio.wait_for(asyncio.shield(task), 30.0)
        works = [flow.work for flow in self.flows.values()] + ([] if self._held is None else [self._held])
        for flow in self.flows.values():
            if flow.checkpoint is not None:
                flow.checkpoint.close()
        for work in works:
            try:
                await self.desk.ask(self.ledger.release, work)
            except PellucidError as error:  # its lease runs out, or its owner is seen to be dead
                logs.get_logger("engine").error("a scan could not be given back", code=error.code)
                break
        self.flows.clear()
        self.desk.close()

    # What can be done now

    def _step(self) -> None:
        if not self.stop.asked:
            self._claim_more()
            self._identify_more()
        self._start_held()
        for member in self.crew.of(Role.DEVICE):
            self._fill(member, self.embedding.next)
        for member in self.crew.of(Role.POSTERIOR):
            self._fill(member, self._sample)
        readers = sorted(self.crew.of(Role.READER), key=lambda member: len(member.hand))
        for member in readers:
            self._fill(member, self.reading.next)
        self._flush()

    def _fill(self, member: Member, choose: Callable[[Member], Assignment | None]) -> None:
        while member.room > 0:
            assignment = choose(member)
            if assignment is None:
                return
            self.crew.give(member, assignment)

    def _flush(self) -> None:
        """Send a batch that isn't full where the device would otherwise wait for tiles that may never come."""
        idle = [member for member in self.crew.of(Role.DEVICE) if member.ready and not member.hand]
        if not idle or self.embedding.is_waiting:
            return
        if any(flow.reading or flow.blocks for flow in self.flows.values()):
            return
        if self.batches.flush():
            self.wake()

    def _sample(self, member: Member) -> Assignment | None:
        waiting = [flow for flow in self.flows.values() if flow.stage is Stage.PASSES and not flow.asked]
        if not waiting or (member.hand and any(one.kills for one in member.hand)):
            return None
        flow = max(waiting, key=lambda one: (one.work.priority, -one.since))
        if flow.kills and member.hand:
            return None
        if flow.checkpoint is None:
            raise ValueError("a scan without embeddings waits for its passes")
        flow.asked = True
        job = Sample(job=next(self._jobs), path=flow.checkpoint.path)
        return Assignment(job=job, about=flow, kills=flow.kills)

    # Claims and intake

    def _claim_more(self) -> None:
        reading = sum(flow.stage in {Stage.PREPARE, Stage.TILES} for flow in self.flows.values())
        if self._claiming or self._held is not None or self.desk.because or time.monotonic() < self._next_claim:
            return
        if reading >= self.config.open_scans or len(self.flows) >= 2 * self.config.open_scans:
            return
        if any(flow.work.alone for flow in self.flows.values()):
            return
        self._claiming = True
        self._spawn(self._claim())

    async def _claim(self) -> None:
        try:
            work = await self.desk.ask(self.ledger.claim)
            self.reading.hungry = work is None
            if work is None:
                self._next_claim = time.monotonic() + _POLL_S
                self._over = not self._n_hashing and await self.desk.ask(lambda: self.ledger.finished)
            elif work.alone and self.flows:
                self._held = work
            else:
                self._take(work)
        finally:
            self._claiming = False

    def _start_held(self) -> None:
        if self._held is not None and not self.flows:
            work, self._held = self._held, None
            self._take(work)

    def _take(self, work: Work) -> None:
        self.flows[work.key] = Flow(work)
        self._events.started(work.name)
        self.wake()

    def _identify_more(self) -> None:
        if self._identifying or self.desk.because or time.monotonic() < self._next_file:
            return
        if self.reading.n_to_identify >= self.config.max_readers:
            return
        self._identifying = True
        self._spawn(self._find_file())

    async def _find_file(self) -> None:
        try:
            path = await self.desk.ask(self.ledger.to_identify)
            if path is None:
                self._next_file = time.monotonic() + _POLL_S
            else:
                self._n_hashing += 1
                self.reading.identify(path)
            self._next_claim = 0.0
        finally:
            self._identifying = False

    def _identified(self, path: Path, answer: Identified) -> None:
        self._spawn(self._named(lambda: self.ledger.identified(path, answer.identity, answer.fingerprint)))

    def _unidentified(self, path: Path, error: PellucidError) -> None:
        self._spawn(self._named(lambda: self.ledger.unidentified(path, error)))

    async def _named(self, tell: Callable[[], None]) -> None:
        try:
            await self.desk.ask(tell)
        finally:
            self._n_hashing -= 1
            self._next_claim = self._next_file = 0.0

    # What the processes say

    def answered(self, member: Member, assignment: Assignment, answer: Answer) -> None:
        """A job is done, or refused."""
        if member.role is Role.DEVICE and isinstance(answer, Encoded | Refused):
            if isinstance(answer, Encoded):
                self.rates.encoded(answer.seconds, answer.waited_s)
            self.embedding.answered(assignment, answer)
        elif member.role is Role.POSTERIOR and isinstance(answer, Sampled | Refused):
            self._sampled(assignment.about, answer)
        elif isinstance(answer, Identified | Prepared | TilesRead | Illustrated | Refused):
            self.reading.answered(member, assignment, answer)

    def bereaved(self, member: Member, ending: Ending, hand: list[Assignment]) -> None:
        """A process ended with jobs in hand; the first is the one it was doing."""
        for assignment in hand[:1]:
            if isinstance(assignment.about, Flow):
                assignment.about.circumstances["restarted"] = ending.cause
        if member.role is Role.DEVICE:
            self.embedding.bereaved(hand, self.config.kills, self._quarantine)
        elif member.role is Role.POSTERIOR:
            for nth, assignment in enumerate(hand):
                flow: Flow = assignment.about
                flow.asked = False
                flow.kills += nth == 0
                if flow.kills >= self.config.kills:
                    self._quarantine(flow, flow.kills)
        else:
            self.reading.bereaved(hand, ending.cause, blame=not ending.expected)

    def _prepared(self, flow: Flow, prepared: Prepared) -> None:
        if len(prepared.grid) == 0:
            flow.prepared, flow.pictures = prepared, dict(prepared.pictures)
            self._fail(flow, NoTissue("No tile of the scan holds enough tissue to answer from."))
            return
        self._keep_trying(lambda: self._lay_out(flow, prepared))

    def _lay_out(self, flow: Flow, prepared: Prepared) -> None:
        if flow.stage is not Stage.PREPARE:
            return
        spec, grid = self.models.spec, prepared.grid
        header = CheckpointHeader(
            scan=flow.work.scan, spec=spec.digest, grid=grid_digest(prepared), n_tiles=len(grid), dim=spec.dim
        )
        checkpoint = Checkpoint.open(self.config.checkpoints / f"{flow.work.key[:32]}.embeddings", header)
        flow.lay_out(prepared, checkpoint, most=max(1, self.config.n_slots * spec.batch_size // 2))
        self._count(checkpoint.n_done)
        if flow.is_embedded:
            self._embedded(flow)

    def _embedded(self, flow: Flow) -> None:
        if flow.stage is not Stage.TILES:
            return
        if not flow.readable.any():
            self._fail(flow, NothingReadable(f"None of the scan's {flow.n_tiles} tissue tiles could be decoded."))
        elif self.models.sampler is None:
            self._commit(flow)
        else:
            flow.stage, flow.asked = Stage.PASSES, False
        self.wake()

    def _sampled(self, flow: Flow, answer: Sampled | Refused) -> None:
        if flow.stage is not Stage.PASSES:
            return
        if isinstance(answer, Refused):
            self._fail(flow, error_of_refusal(answer))
            return
        flow.passes = answer
        flow.spend("passes", answer.seconds)
        flow.stage, flow.asked = Stage.PICTURES, False

    # Ends

    def _commit(self, flow: Flow) -> None:
        if flow.stage in {Stage.COMMIT, Stage.ENDED}:
            return
        flow.stage = Stage.COMMIT
        self._spawn(self._end(flow, lambda: self.ledger.answered(flow.work, flow.answer())))

    def _fail(self, flow: Flow, error: Exception) -> None:
        if flow.stage in {Stage.COMMIT, Stage.ENDED}:
            return
        coded = error if isinstance(error, PellucidError) else UnexpectedFailure(f"{type(error).__name__} was raised.")
        account = flow.account(looked_at=isinstance(coded, NoTissue | NothingReadable))
        self._give_up(flow, lambda: self.ledger.unanswered(flow.work, coded, account))

    def _quarantine(self, flow: Flow, kills: int) -> None:
        if flow.stage in {Stage.COMMIT, Stage.ENDED}:
            return
        cause = f"Its work ended a process {kills} times ({flow.circumstances.get('restarted', 'device')})."
        account = flow.account(looked_at=False)
        self._give_up(flow, lambda: self.ledger.quarantined(flow.work, cause, account))

    def _give_up(self, flow: Flow, tell: Callable[[], None]) -> None:
        flow.stage = Stage.ENDED
        self.batches.drop(flow.work.key)
        self.reading.drop(flow)
        self._spawn(self._end(flow, tell))

    async def _end(self, flow: Flow, tell: Callable[[], None]) -> None:
        try:
            await self.desk.ask(tell)
        except LeaseGone as error:
            self._lost(flow, error)
            return
        if flow.checkpoint is not None:
            flow.checkpoint.remove()
        self.rates.ended()
        self.flows.pop(flow.work.key, None)
        self._next_claim = 0.0

    def _lost(self, flow: Flow, error: PellucidError) -> None:
        """Somebody else has the scan; what was embedded is left to them."""
        logs.get_logger("engine").warning("lease lost", scan=flow.work.name, code=error.code)
        flow.stage = Stage.ENDED
        self.batches.drop(flow.work.key)
        self.reading.drop(flow)
        if flow.checkpoint is not None:
            flow.checkpoint.close()
        self.flows.pop(flow.work.key, None)

    # From time to time

    async def _beat(self) -> None:
        kept = synced = time.monotonic()
        while True:
            await asyncio.sleep(_BEAT_S)
            now = time.monotonic()
            self._try_again()
            self.crew.watch()
            self.rates.beat(self)
            self._events.beat(self)
            if now - synced > self.config.sync_s:
                synced = now
                await self._sync()
            if now - kept > self.config.lease_s / 3:
                kept = now
                self._spawn(self._keep_leases())
            if self.desk.because is None:
                self._spawn(self._tick())
            self.wake()

    async def _tick(self) -> None:
        await self.desk.ask(self.ledger.tick)

    async def _sync(self) -> None:
        for flow in list(self.flows.values()):
            checkpoint = flow.checkpoint
            if checkpoint is not None and flow.stage is Stage.TILES and checkpoint.n_synced < checkpoint.n_done:
                with contextlib.suppress(OSError, ValueError, PellucidError):  # tried again at the next beat
                    await asyncio.to_thread(checkpoint.sync)

    async def _keep_leases(self) -> None:
        flows = list(self.flows.values())
        works = [flow.work for flow in flows] + ([] if self._held is None else [self._held])
        progressed = {flow.work.key for flow in flows if flow.n_done > flow.durable}
        for flow in flows:
            flow.durable = flow.n_done
        lost = await self.desk.ask(self.ledger.keep, works, progressed) if works else set()
        for flow in flows:
            if flow.work.key in lost and flow.stage is not Stage.ENDED:
                self._lost(flow, LeaseGone("The scan's lease was taken over while it was worked on."))

    def _keep_trying(self, write: Callable[[], None]) -> None:
        """Write to the disk; where it is full, pause and write later."""
        try:
            write()
        except (StorageFull, OSError) as error:
            self._later.append(write)
            self._wait_out(error)
        except PellucidError as error:
            self.fail(error)

    def _try_again(self) -> None:
        waiting, self._later = self._later, []
        for write in waiting:
            self._keep_trying(write)
        if waiting and not self._later:
            self.desk.go_on()

    def _wait_out(self, error: StorageFull | OSError) -> None:
        coded = error if isinstance(error, StorageFull) else OutputGone(f"Writing embeddings failed: {error.strerror}.")
        try:
            self.desk.wait_out(coded)
        except PellucidError as final:
            self.fail(final)

    def _count(self, number: int) -> None:
        self.rates.tiles(number)
        self._events.tiles(number)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.fail(task.exception() or RuntimeError("a task failed"))
        self.wake()

    def slots(self) -> dict[SlotState, int]:
        """How many buffers are in each state."""
        return {state: self.batches.count(state) for state in SlotState}


def grid_digest(prepared: Prepared) -> str:
    """What embeddings depend on beside scan and encoder: tiles and scale."""
    from pellucid.core.digests import digest_json
    from pellucid.core.serial import to_plain

    grid = prepared.grid
    coords = np.ascontiguousarray(grid.coords, np.int32).tobytes().hex()
    return digest_json([coords, grid.level0_px, grid.tile_px, grid.mpp, to_plain(prepared.info.scale)])
